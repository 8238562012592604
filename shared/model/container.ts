/**
 * A standalone container, as `docker create` and `docker run` make it: a hidden service of one task at a time, whose
 * container has an id of its own that outlives its tasks. Each start is a new task on the same node.
 */

/** The mode of such a service. */
export interface ContainerMode {
  readonly kind: 'container';
  /** 64 hexadecimal digits. The service's id is made of the first of them (serviceIdOf). */
  readonly containerId: string;
  /** Removed when it has ended and is not started again (docker run --rm), its anonymous volumes with it. */
  readonly autoRemove: boolean;
  /** Ids of the nodes that have what it needs; absent: any. */
  readonly nodes?: readonly string[];
}

/** What users want of it. In the service's record, so that a start or a stop is a small write. */
export interface ContainerRun {
  /**
   * `created`: on its node, and nothing runs. `running`: runs, and is restarted by its policy. `held`: what runs is left
   * alone, and nothing is restarted. `stopped`: what runs is stopped.
   */
  readonly wanted: 'created' | 'running' | 'held' | 'stopped';
  /** Grows with each start. */
  readonly serial: number;
}

/** Which of the container's runs a task is. */
export interface TaskRun {
  /** The start that it belongs to; 0: none yet. */
  readonly serial: number;
  /** How often the restart policy has started it again since that start. */
  readonly restarts: number;
  /** How long this run was put off. */
  readonly delayMs: number;
}

/** What a client asked for, field by field as it wrote it: what `docker inspect` shows again. Kept with the revision. */
export interface ContainerRequest {
  readonly config: Readonly<Record<string, unknown>>;
  readonly hostConfig: Readonly<Record<string, unknown>>;
}

/** Digits of a container's id that are its service's id: whoever has the one finds the other without a search. */
const SERVICE_ID_DIGITS = 25;

export function serviceIdOf(containerId: string): string {
  return containerId.slice(0, SERVICE_ID_DIGITS);
}

/** The one slot of such a service. */
export const CONTAINER_SLOT = 1;
