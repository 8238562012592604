/** A service: what a user wants to run. Its spec is stored once per revision; tasks name the revision. */

import type { Autoscale, Scaled } from './autoscale.ts';
import type { Balance, Canary } from './assignment.ts';
import type { SelinuxLabel } from './confinement.ts';
import type { ContainerMode, ContainerRequest, ContainerRun } from './container.ts';
import type { GenericRequest } from './generic-resource.ts';
import type { MountSpec } from './mount.ts';
import type { NetworkAttachment } from './network.ts';
import { isOffNetworks } from './node-network.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import type { FileReference } from './secret.ts';

export type Labels = Readonly<Record<string, string>>;

export type ServiceMode =
  | ContainerMode
  | { readonly kind: 'replicated'; readonly replicas: number }
  | { readonly kind: 'global' }
  /** Runs tasks until so many have completed, each anew at every update of the service. */
  | { readonly kind: 'replicated-job'; readonly totalCompletions: number; readonly maxConcurrent: number }
  /** One completion on every node. */
  | { readonly kind: 'global-job' }
  | CronMode;

/** A job of one task whenever its time comes. */
export interface CronMode {
  readonly kind: 'cron';
  /** Five fields, or six with seconds first. */
  readonly schedule: string;
  /** A name of the IANA time zone database. */
  readonly timeZone: string;
  /** What becomes of a run that comes while the last one is not over. */
  readonly concurrency: 'allow' | 'forbid' | 'replace';
  /** A run that could not be started in time is given up after this. */
  readonly catchUpMs: number;
  /** So many runs are kept to be looked at. */
  readonly history: number;
}

/** Its tasks shall complete. */
export function isJob(mode: ServiceMode): boolean {
  return mode.kind === 'replicated-job' || mode.kind === 'global-job' || mode.kind === 'cron';
}

/** What an update may not change. A job may get a schedule, and lose it. */
export function modeFamily(mode: ServiceMode): Exclude<ServiceMode['kind'], 'cron'> {
  return mode.kind === 'cron' ? 'replicated-job' : mode.kind;
}

/** One slot a node, rather than a number of them anywhere. */
export function isGlobalMode(mode: ServiceMode): boolean {
  return mode.kind === 'global' || mode.kind === 'global-job';
}

export interface HealthCheck {
  /** ['NONE'], ['CMD', ...argv] or ['CMD-SHELL', line]; [] inherits the image's. */
  readonly test: readonly string[];
  readonly intervalNs: number;
  readonly timeoutNs: number;
  readonly startPeriodNs: number;
  readonly startIntervalNs: number;
  readonly retries: number;
}

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
  /** The container's first process is an init of ours, which runs the command. */
  readonly init?: boolean;
  readonly tty?: boolean;
  /** Standard input is kept open for who attaches; else it is empty. */
  readonly openStdin?: boolean;
  /** Standard input ends with the first client that was attached to it; without a terminal only. */
  readonly stdinOnce?: boolean;
  /** The terminal's first size, in characters. */
  readonly consoleSize?: { readonly rows: number; readonly columns: number };
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
  /** A seccomp profile as Docker has them, JSON text, in place of the default one. */
  readonly seccompProfile?: string;
  /** In place of the label that the agent's programs have; its files get one that goes with it. */
  readonly selinux?: SelinuxLabel;
  /** -1000 to 1000, proc(5). */
  readonly oomScoreAdj?: number;
  readonly runtime?: RuntimeOptions;
}

export interface ResourceAmounts {
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
}

export interface Reservations extends ResourceAmounts {
  /** Each kind once. Absent: none. */
  readonly genericResources?: readonly GenericRequest[];
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
  /** Fewest tasks first (default), or the fullest node that has room. */
  readonly strategy?: 'spread' | 'binpack';
  readonly affinities?: readonly Affinity[];
}

/** Where the tasks of another service are matters: only there, there if possible; not there, not there if possible. */
export interface Affinity {
  /** By name; within a stack also by the short one. */
  readonly service: string;
  readonly kind: 'with' | 'apart';
  readonly hard: boolean;
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

export type PortRange = readonly [first: number, last: number];

export interface PublishedPort {
  readonly name?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly targetPort: number;
  /** 0: the manager chooses one of `among`, or from 30000-32767. */
  readonly publishedPort: number;
  /** From the first to the last, both counted. Only with a `publishedPort` of 0; what was chosen stands without it. */
  readonly among?: PortRange;
  readonly mode: 'ingress' | 'host';
  /** Published on this address only, where a node has it; 0.0.0.0 and :: are all of their family. Absent: on all. */
  readonly hostIp?: string;
}

/**
 * Another service that must have come to a condition before this one's first tasks start; by its name, so that the two may
 * be deployed, removed and deployed again in any order. Compose files have it; the Docker API has no field for it.
 */
export interface ServiceDependency {
  /** Name of the service in the cluster: shop_db. */
  readonly service: string;
  /**
   * `started`: each of its tasks ran, be it for a moment. `healthy`: each runs, and its health check passes. `completed`:
   * each has ended with exit code 0 and is not run again.
   */
  readonly condition: 'started' | 'healthy' | 'completed';
  /** False: that it is missing, or failed for good, is no reason to wait. */
  readonly required: boolean;
}

export interface ServiceSpec {
  readonly name: string;
  readonly labels: Labels;
  readonly mode: ServiceMode;
  readonly container: ContainerSpec;
  readonly limits: ResourceAmounts;
  readonly reservations: Reservations;
  readonly restart: RestartPolicy;
  readonly placement: Placement;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  /** A task of an update that does not serve after this long counts as failed. Default: DEFAULT_UPDATE_DEADLINE_MS. */
  readonly updateDeadlineMs?: number;
  readonly networks: readonly NetworkAttachment[];
  readonly endpointMode: 'vip' | 'dnsrr';
  readonly ports: readonly PublishedPort[];
  /** A change of this number alone redeploys every task. */
  readonly forceUpdate: number;
  /** Registry credentials as X-Registry-Auth carried them; never returned by the API. */
  readonly registryAuth?: string;
  /** Container options of the Docker API that Shoal stores and shows again but whose meaning other fields carry. */
  readonly logDriver?: { readonly name: string; readonly options: Labels };
  readonly dependsOn?: readonly ServiceDependency[];
  /** From -1000 to 1000; absent: DEFAULT_PRIORITY. Tasks of a higher one may take the place of those of a lower. */
  readonly priority?: number;
  /** Of mode replicated only. */
  readonly autoscale?: Autoscale;
  /** How its tasks leave a drained node. Absent: as does least harm (drainOrderOf). */
  readonly drain?: DrainOrder;
  /** Running tasks are moved to level the nodes, one in this time at most. Absent: never. */
  readonly rebalanceEveryMs?: number;
  /** How connections to its VIP and published ports are spread. Absent: random. */
  readonly balance?: Balance;
  /** Its tasks take part of the connections to another service's VIP and published ports. */
  readonly canary?: Canary;
  /** Its tasks serve as soon as they run, whatever their health check says. */
  readonly serveUnready?: true;
  /** So long a task runs on after all nodes have confirmed that nothing new is led to it, before it is signalled. */
  readonly withdrawWaitMs?: number;
}

/**
 * `start-first`: the next task serves before the one on the drained node is stopped. `stop-first`: the next one is prepared
 * elsewhere, then the other is stopped. Both in the steps of an update. `at-once`: all are stopped, as Swarm does.
 */
export type DrainOrder = 'start-first' | 'stop-first' | 'at-once';

/**
 * Where two side by side may do harm, the first is stopped before the second runs: they may write the same data, or be meant
 * to run once. An update that starts first says that two do none.
 */
export function drainOrderOf({ drain, update, container, restart }: ServiceSpec): DrainOrder {
  if (drain !== undefined) return drain;
  if (update.order === 'start-first') return 'start-first';
  const writes = container.mounts.some((mount) => mount.kind !== 'tmpfs' && !mount.readOnly);
  return writes || restart.condition === 'none' ? 'stop-first' : 'start-first';
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
  readonly pausedAtMs?: number;
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
  /** In place of the spec's number, for as long as the spec asks for scaling. */
  readonly scaled?: Scaled;
  /** Set once what the service depends on was there: it is not held back again. */
  readonly released?: boolean;
  /** Set once removal was asked for; the record goes when the last task is gone. */
  readonly removing?: boolean;
  /** Set for a standalone container only: the API does not show it as a service. */
  readonly run?: ContainerRun;
}

/** What its users call it. */
export function nounOf({ run }: Service): 'service' | 'container' {
  return run === undefined ? 'service' : 'container';
}

/** The record at /revisions/<serviceId>.<revision>; immutable. */
export interface Revision {
  readonly id: string;
  readonly serviceId: string;
  readonly revision: number;
  readonly createdAtMs: number;
  readonly spec: ServiceSpec;
  /** Absent: a creation or an update. */
  readonly origin?: RollbackOrigin;
  /** Of a standalone container. */
  readonly asked?: ContainerRequest;
}

/** The spec is that of an earlier revision. */
export interface RollbackOrigin {
  readonly kind: 'rollback';
  readonly of: number;
  /** The cluster went back by itself: the update failed. */
  readonly automatic: boolean;
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

/** Kubernetes' progressDeadlineSeconds. Swarm has none: a task that hangs holds up its update for ever. */
export const DEFAULT_UPDATE_DEADLINE_MS = 600_000;

export const DEFAULT_PRIORITY = 0;

export const DEFAULT_STOP_GRACE_NS = 10_000_000_000;

/**
 * A task takes part in its own networks, and in ingress when it publishes a port (one of mode host too, for its own
 * networks, if it has any, may be internal and then the host can not lead to it), when it is a canary of a service that may
 * publish, or when it has no network: ingress is
 * then its way out. Containers can not reach one another through ingress. One that has its node's network, or none, has no
 * address of the cluster's at all.
 */
export function usesIngress(spec: ServiceSpec): boolean {
  if (isOffNetworks(spec.container.runtime)) return false;
  return spec.ports.length > 0 || spec.networks.length === 0 || spec.canary !== undefined;
}

/** Whether nodes other than its own must be able to lead to a task through ingress. */
export function isOnMesh(spec: ServiceSpec): boolean {
  return spec.canary !== undefined || spec.ports.some((port) => port.mode === 'ingress');
}
