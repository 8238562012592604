/** Small questions about a task that reconcile, schedule, the API and the dispatcher all ask. */
import type { Task, TaskState, TaskStatus } from '../../shared/model/index.ts';
import { isTerminal } from '../../shared/model/index.ts';

/** What is known of a task's progress: its node's report, or else pending (no node yet) or assigned. */
export function effectiveState(task: Task, status: TaskStatus | undefined): TaskState {
  return status?.state ?? (task.nodeId === undefined ? 'pending' : 'assigned');
}

/** The manager wants it to run, now or soon. */
export function isWanted(task: Task): boolean {
  return task.desired === 'ready' || task.desired === 'running';
}

/** It serves: running, and past its first health check if it has one. */
export function isUp(status: TaskStatus | undefined): boolean {
  return status?.state === 'running' && (status.health === undefined || status.health === 'healthy');
}

/** Since when it serves; undefined: it does not. */
export function upSince(status: TaskStatus | undefined): number | undefined {
  if (status === undefined || !isUp(status)) return undefined;
  return status.health === undefined ? (status.startedAtMs ?? status.atMs) : status.atMs;
}

/** It ended by itself, not because it was told to. */
export function endedByItself(state: TaskState): boolean {
  return state === 'complete' || state === 'failed' || state === 'rejected';
}

/** It holds its reservations and ports: on a node, and not known to have ended. */
export function holdsResources(task: Task, status: TaskStatus | undefined): boolean {
  return task.nodeId !== undefined && !isTerminal(effectiveState(task, status));
}

/** Stopped so that others can have what it holds, and not known to have ended. */
export function isLeavingRoom(task: Task, status: TaskStatus | undefined): boolean {
  return task.preemptedBy !== undefined && holdsResources(task, status);
}

export const MS = 1_000_000;

/** Nanoseconds, as specs have them, to whole milliseconds, rounded up. */
export function nsToMs(ns: number): number {
  return Math.ceil(ns / MS);
}

/** The key of a revision's record. */
export function revisionKey(serviceId: string, revision: number): string {
  return `${serviceId}.${revision}`;
}
