/** A service: what a user wants to run. Its spec is stored once per revision; tasks name the revision. */

import type { RuntimeOptions } from './runtime-options.ts';
import type { FileReference } from './secret.ts';

export type Labels = Readonly<Record<string, string>>;

export type ServiceMode =
  | { readonly kind: 'replicated'; readonly replicas: number }
  | { readonly kind: 'global' };

export interface HealthCheck {
  /** ['NONE'], ['CMD', ...argv] or ['CMD-SHELL', line]; [] inherits the image's. */
  readonly test: readonly string[];
  readonly intervalNs: number;
  readonly timeoutNs: number;
  readonly startPeriodNs: number;
  readonly startIntervalNs: number;
  readonly retries: number;
}

export type MountSpec =
  | {
      readonly kind: 'bind';
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly propagation?: BindPropagation;
      readonly createSource?: boolean;
    }
  | {
      readonly kind: 'volume';
      readonly source: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly driver?: string;
      readonly labels?: Labels;
      readonly noCopy?: boolean;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly readOnly: boolean;
      readonly sizeBytes?: number;
      readonly mode?: number;
    };

export type BindPropagation = 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave';

export interface ContainerSpec {
  readonly image: string;
  readonly labels: Labels;
  /** Replaces the image's entrypoint (Docker's ContainerSpec.Command). Empty: the image's. */
  readonly command: readonly string[];
  /** Replaces the image's command (Docker's ContainerSpec.Args). */
  readonly args: readonly string[];
  /** KEY=value, or KEY alone to unset the image's. */
  readonly env: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly groups?: readonly string[];
  readonly hostname?: string;
  readonly readOnlyRoot?: boolean;
  readonly init?: boolean;
  readonly tty?: boolean;
  readonly openStdin?: boolean;
  readonly stopSignal?: string;
  /** Default 10 s. */
  readonly stopGraceNs?: number;
  readonly mounts: readonly MountSpec[];
  /** "host:address" lines as in compose's extra_hosts. */
  readonly extraHosts?: readonly string[];
  readonly dns?: {
    readonly nameservers: readonly string[];
    readonly search: readonly string[];
    readonly options: readonly string[];
  };
  readonly healthCheck?: HealthCheck;
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly secrets?: readonly FileReference[];
  readonly configs?: readonly FileReference[];
  readonly noNewPrivileges?: boolean;
  readonly seccompUnconfined?: boolean;
  /** -1000 to 1000, proc(5). */
  readonly oomScoreAdj?: number;
  readonly runtime?: RuntimeOptions;
}

export interface ResourceAmounts {
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
}

export interface RestartPolicy {
  readonly condition: 'any' | 'on-failure' | 'none';
  readonly delayNs: number;
  /** 0: unlimited. */
  readonly maxAttempts: number;
  /** 0: all of the past counts. */
  readonly windowNs: number;
}

export interface Placement {
  /** "node.role==manager", "node.labels.zone!=a"; == and != only, compared without case. */
  readonly constraints: readonly string[];
  /** Spread over the values of each attribute, outermost first: "node.labels.zone". */
  readonly spread: readonly string[];
  /** 0: no limit. */
  readonly maxReplicasPerNode: number;
  readonly platforms?: readonly { readonly os: string; readonly arch: string }[];
}

export interface UpdateConfig {
  /** 0: all at once. */
  readonly parallelism: number;
  readonly delayNs: number;
  readonly order: 'stop-first' | 'start-first';
  readonly monitorNs: number;
  readonly failureAction: 'pause' | 'continue' | 'rollback';
  readonly maxFailureRatio: number;
}

export interface PublishedPort {
  readonly name?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly targetPort: number;
  /** 0: the manager chooses one from 30000-32767. */
  readonly publishedPort: number;
  readonly mode: 'ingress' | 'host';
}

export interface NetworkAttachment {
  /** Network id (specs as stored hold ids, not names). */
  readonly network: string;
  readonly aliases: readonly string[];
}

export interface ServiceSpec {
  readonly name: string;
  readonly labels: Labels;
  readonly mode: ServiceMode;
  readonly container: ContainerSpec;
  readonly limits: ResourceAmounts;
  readonly reservations: ResourceAmounts;
  readonly restart: RestartPolicy;
  readonly placement: Placement;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly networks: readonly NetworkAttachment[];
  readonly endpointMode: 'vip' | 'dnsrr';
  readonly ports: readonly PublishedPort[];
  /** A change of this number alone redeploys every task. */
  readonly forceUpdate: number;
  /** Registry credentials as X-Registry-Auth carried them; never returned by the API. */
  readonly registryAuth?: string;
  /** Container options of the Docker API that Shoal stores and shows again but whose meaning other fields carry. */
  readonly logDriver?: { readonly name: string; readonly options: Labels };
}

export type UpdateState =
  | 'updating'
  | 'paused'
  | 'completed'
  | 'rollback-started'
  | 'rollback-paused'
  | 'rollback-completed';

export interface UpdateStatus {
  readonly state: UpdateState;
  readonly startedAtMs: number;
  readonly completedAtMs?: number;
  readonly message: string;
}

/** The record at /services/<id>. The spec of each revision is at /revisions/<id>.<revision>. */
export interface Service {
  readonly id: string;
  readonly name: string;
  /** Current revision, from 1. */
  readonly revision: number;
  readonly previousRevision?: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly updateStatus?: UpdateStatus;
  /** What allocate gave: one VIP a network (absent in dnsrr), and the published ports with 0 resolved. */
  readonly endpoint?: {
    readonly vips: readonly { readonly network: string; readonly address: string }[];
    readonly ports: readonly PublishedPort[];
  };
  /** Set once removal was asked for; the record goes when the last task is gone. */
  readonly removing?: boolean;
}

/** The record at /revisions/<serviceId>.<revision>; immutable. */
export interface Revision {
  readonly id: string;
  readonly serviceId: string;
  readonly revision: number;
  readonly createdAtMs: number;
  readonly spec: ServiceSpec;
}

/** Swarm's documented defaults (docs.docker.com, api/defaults of swarmkit). */
export const DEFAULT_RESTART: RestartPolicy = {
  condition: 'any',
  delayNs: 5_000_000_000,
  maxAttempts: 0,
  windowNs: 0,
};

export const DEFAULT_UPDATE: UpdateConfig = {
  parallelism: 1,
  delayNs: 0,
  order: 'stop-first',
  monitorNs: 5_000_000_000,
  failureAction: 'pause',
  maxFailureRatio: 0,
};

export const DEFAULT_STOP_GRACE_NS = 10_000_000_000;

/**
 * A task takes part in its own networks, and in ingress when it publishes a port (one of mode host too, for its own
 * networks, if it has any, may be internal and then the host can not lead to it), or when it has no network: ingress is
 * then its way out. Containers can not reach one another through ingress. One that has its node's network, or none, has no
 * address of the cluster's at all.
 */
export function usesIngress(spec: ServiceSpec): boolean {
  if (spec.container.runtime?.network !== undefined) return false;
  return spec.ports.length > 0 || spec.networks.length === 0;
}

/** Whether nodes other than its own must be able to lead to a task through ingress. */
export function isOnMesh(spec: ServiceSpec): boolean {
  return spec.ports.some((port) => port.mode === 'ingress');
}
