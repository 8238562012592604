import type { TaskRun } from './container.ts';
import type { GenericResource } from './generic-resource.ts';
import type { DesiredState, TaskState } from './task-state.ts';

/** An address of a task on one network, without prefix length. */
export interface TaskAddress {
  readonly network: string;
  readonly address: string;
  /** The number of its interface (eth2); absent: its place in the list. */
  readonly device?: number;
}

/**
 * The record at /tasks/<id>: what managers want. One node, assigned once, never run again. Small on purpose
 * (<= 400 bytes as JSON); the spec is found through serviceId and revision.
 */
export interface Task {
  readonly id: string;
  readonly serviceId: string;
  readonly revision: number;
  /** From 1 for replicated, from 0 for replicated jobs; 0 for global, whose identity is the node. */
  readonly slot: number;
  /** Absent while unplaceable. */
  readonly nodeId?: string;
  readonly desired: DesiredState;
  readonly createdAtMs: number;
  /** When `desired` last changed. */
  readonly desiredAtMs: number;
  readonly addresses: readonly TaskAddress[];
  /** Generic resources of its node that are its own until it has ended. Of those that asked for any only. */
  readonly granted?: readonly GenericResource[];
  /** Why it stays pending: one sentence with a count per filter. */
  readonly pendingReason?: string;
  /** A replacement in `ready` is promoted to running at this time at the earliest (restart delay). */
  readonly startAfterMs?: number;
  /** How many tasks before it failed early in its slot, one after the other; absent: none. */
  readonly failures?: number;
  /** Placed in the room of tasks of its node that were preempted: it waits in `ready` until all such have ended. */
  readonly preempting?: true;
  /** Told to stop in favour of a service of a higher priority. */
  readonly preemptedBy?: { readonly serviceId: string; readonly serviceName: string };
  /** It takes the place of the one before it in its slot, which is stopped only when this one can be relied on. */
  readonly move?: 'drain' | 'rebalance';
  /** Of a standalone container's task only. */
  readonly run?: TaskRun;
  /** Why a network that its container was connected to has not taken it. */
  readonly networkProblem?: string;
  /** Of a cron job: the time of the schedule that it is for. */
  readonly scheduledAtMs?: number;
}

export interface ContainerStatus {
  readonly containerId: string;
  readonly pid?: number;
  readonly exitCode?: number;
  /** The kernel killed a process of it for lack of memory. Known once it has ended. */
  readonly oomKilled?: true;
}

/** Health of a running task's container, when it has a health check. */
export type Health = 'starting' | 'healthy' | 'unhealthy';

/** The record at /statuses/<taskId>: what its node observed. */
export interface TaskStatus {
  readonly taskId: string;
  readonly state: TaskState;
  readonly atMs: number;
  /** When it began to run; kept in later states, so that an early end can be told from a late one. */
  readonly startedAtMs?: number;
  /** One line for people: "started", "preparing", ... */
  readonly message: string;
  /** Why it failed or was rejected. */
  readonly error?: string;
  readonly container?: ContainerStatus;
  readonly health?: Health;
  /** Ports of mode host as really bound. */
  readonly hostPorts?: readonly {
    readonly protocol: 'tcp' | 'udp' | 'sctp';
    readonly targetPort: number;
    readonly publishedPort: number;
    readonly hostIp?: string;
  }[];
}
