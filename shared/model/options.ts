/** What the command line hands to a manager and to an agent. Paths are absolute. */
import type { IdRange } from '../lib/id-ranges.ts';
import type { GenericResource } from './generic-resource.ts';

/** The part of pino's logger that Shoal uses; a pino logger satisfies it. */
export interface Logger {
  debug(fields: object, message?: string): void;
  info(fields: object, message?: string): void;
  warn(fields: object, message?: string): void;
  error(fields: object, message?: string): void;
  child(fields: Record<string, unknown>): Logger;
}

/** Where etcd is: started and supervised by the manager, or somebody else's. */
export type EtcdOptions =
  | {
      readonly kind: 'embedded';
      readonly clientPort: number;
      readonly peerPort: number;
      /** Size of the database at which it refuses writes; default: see startEmbeddedEtcd. */
      readonly quotaBytes?: number;
    }
  | {
      readonly kind: 'external';
      /** URLs, e.g. https://10.0.0.5:2379 */
      readonly endpoints: readonly string[];
      /** PEM texts. */
      readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
    };

export interface ScheduledBackups {
  /** Default: `backups` in the state directory. */
  readonly directory?: string;
  readonly everyMs: number;
  /** How many; the oldest go. */
  readonly keep: number;
  /** Encrypts them; absent: they are not encrypted. */
  readonly passphrase?: string;
}

/** With what a new manager enters a cluster: its certificate, the cluster's CA, managers that are in. PEM texts. */
export interface ManagerIdentity {
  readonly nodeId: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly managers: readonly string[];
}

export interface ManagerOptions {
  /** The cluster's name: it prefixes every kernel object. */
  readonly name: string;
  readonly stateDir: string;
  /** `${runDir}/manager.json` holds ManagerRunFile once the manager serves. */
  readonly runDir: string;
  /** Path of the unix socket that serves the API. */
  readonly apiSocket: string;
  /** Group that may use the socket besides root; ignored when the machine has none of this name. */
  readonly apiGroup?: string;
  /** Where agents' sessions are accepted (TLS). */
  readonly listen: { readonly host: string; readonly port: number };
  /** host:port that agents are told to use. */
  readonly advertise: string;
  /** Where the API is served besides on the socket: TLS, for users. `names`: what clients call this manager besides. */
  readonly api?: { readonly host: string; readonly port: number; readonly names: readonly string[] };
  /** Where /metrics, and nothing else, is served besides: on a loopback address plain HTTP for anybody, else TLS for users. */
  readonly metricsListen?: { readonly host: string; readonly port: number };
  readonly etcd: EtcdOptions;
  /** It joins the cluster of other managers; absent: it has one, or begins one. */
  readonly joins?: ManagerIdentity;
  /** Silence after which a node is down; only for the manager that makes the cluster. Default 2000. */
  readonly nodeDownAfterMs?: number;
  /** The root that a new cluster begins with (PEM texts); only for the manager that makes the cluster. Default: one is made. */
  readonly root?: { readonly caCertificatePem: string; readonly caKeyPem: string };
  /** Make a new data key when the cluster's is not here and nothing is sealed with it. */
  readonly newDataKey?: boolean;
  /** Backups that the manager makes by itself; absent: none. */
  readonly backups?: ScheduledBackups;
  readonly logger: Logger;
}

export interface AgentOptions {
  /** The cluster's name: it prefixes every kernel object. */
  readonly name: string;
  /** Host name that the node has in the cluster. */
  readonly hostname: string;
  readonly stateDir: string;
  /** `${runDir}/agent.json` holds AgentRunFile once the agent has a session. */
  readonly runDir: string;
  /** Needed the first time only: an agent with an identity in its stateDir uses that. */
  readonly join?: { readonly token: string; readonly managers: readonly string[] };
  /** Underlay address; default: the source address of a route towards the manager. */
  readonly address?: string;
  /** Registries (host[:port]) to speak plain HTTP with. */
  readonly insecureRegistries: readonly string[];
  /** Directory whose *.tar files (docker save format) are imported at start. */
  readonly preloadImages?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly genericResources?: readonly GenericResource[];
  /** Where the vendors of its devices describe them; the later has precedence. Default: CDI's own. */
  readonly cdiDirectories?: readonly string[];
  /** Ids for containers with a user namespace of their own, and whether all have one that do not say `host`. */
  readonly userNamespaces?: {
    readonly remap: boolean;
    readonly pool?: IdRange;
  };
  /** UDP port of the overlays; all nodes of a cluster agree on it. */
  readonly vxlanPort: number;
  /** The first of two UDP ports of encrypted networks; all nodes of a cluster agree on them. */
  readonly wireguardPort: number;
  readonly logger: Logger;
}

/** `${runDir}/manager.json` */
export interface ManagerRunFile {
  readonly pid: number;
  /** host:port for agents */
  readonly address: string;
  readonly apiSocket: string;
}

/** `${runDir}/agent.json` */
export interface AgentRunFile {
  readonly pid: number;
  readonly nodeId: string;
}
