/**
 * Task states in order of progress. Of two observations the one further along wins; a state is never left for an
 * earlier one (swarmkit's design/task_model.md describes the same life). `remove` is only ever desired.
 */
export const TASK_STATES = [
  'new',
  'pending',
  'assigned',
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
  'remove',
  'orphaned',
] as const;

export type TaskState = (typeof TASK_STATES)[number];

/** What a manager may ask of a task: wait in `ready`, run, stop, or stop and be forgotten. */
export type DesiredState = 'ready' | 'running' | 'complete' | 'shutdown' | 'remove';

const rank = new Map<TaskState, number>(TASK_STATES.map((state, index) => [state, index]));

/** Negative, zero or positive as `a` is before, equal to or after `b`. */
export function compareStates(a: TaskState, b: TaskState): number {
  return (rank.get(a) ?? 0) - (rank.get(b) ?? 0);
}

/** True once nothing of the task runs any more and nothing ever will. */
export function isTerminal(state: TaskState): boolean {
  return compareStates(state, 'running') > 0;
}
