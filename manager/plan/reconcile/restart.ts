/** Whether a task that ended is replaced, and when. The rules are Swarm's (swarmkit, manager/orchestrator/restart). */
import type { RestartPolicy, ServiceSpec } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import { endedByItself, nsToMs } from '../states.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';

/** A task that ran for so long had started well: what ends it then is a new failure. */
export const SETTLED_MS = 30_000;
/** So many times a slot that fails is tried again after the delay of its policy, as Swarm does; then it is backed off. */
export const EAGER_RETRIES = 3;
/** The longest back-off; a longer delay of the policy stands. */
export const MAX_BACKOFF_MS = 300_000;
/** What is doubled when the policy's delay is shorter. */
const MIN_BACKOFF_MS = 500;

export interface Retry {
  readonly delayMs: number;
  /** How many tasks of the slot have failed early, one after the other, up to this one. */
  readonly failures: number;
}

export const AT_ONCE: Retry = { delayMs: 0, failures: 0 };

/**
 * How the slot of a task that ended goes on. Doubling begins after some failures. It does not begin where attempts are
 * limited: the number that the window lets through would change. A task that completed has not failed. What was made of
 * another spec says nothing of this one.
 */
export function retryAfter(context: ServiceContext, { task, state, status }: SlotTask): Retry {
  const { restart } = context.spec;
  const delayMs = nsToMs(restart.delayNs);
  const failed = state === 'failed' || state === 'rejected';
  if (!failed || restart.maxAttempts > 0 || context.isOutdated(task)) return { delayMs, failures: 0 };
  const ranMs = status?.startedAtMs === undefined ? 0 : status.atMs - status.startedAtMs;
  if (ranMs >= SETTLED_MS) return { delayMs, failures: 0 };
  const failures = (task.failures ?? 0) + 1;
  return { delayMs: Math.max(delayMs, backoff(delayMs, failures)), failures };
}

function backoff(delayMs: number, failures: number): number {
  if (failures <= EAGER_RETRIES) return 0;
  // 2^20 half seconds are beyond any bound.
  const factor = 2 ** Math.min(20, failures - EAGER_RETRIES);
  return Math.min(MAX_BACKOFF_MS, Math.max(delayMs, MIN_BACKOFF_MS) * factor);
}

/** A job's task that completed is never run again, whatever the condition. */
export function restartPolicyOf({ mode, restart }: ServiceSpec): RestartPolicy {
  return isJob(mode) && restart.condition === 'any' ? { ...restart, condition: 'on-failure' } : restart;
}

/** True when the policy asks for a replacement of `ended`, a task of `slot` that is in a terminal state. */
export function shouldRestart(policy: RestartPolicy, slot: Slot, ended: SlotTask, now: number): boolean {
  switch (policy.condition) {
    case 'none':
      return false;
    case 'on-failure':
      if (ended.state === 'complete') return false;
      break;
    case 'any':
      break;
  }
  return policy.maxAttempts === 0 || pastRestarts(policy, slot, ended, now) < policy.maxAttempts;
}

/** How many tasks of this slot and revision ended before, within the window. History is kept long enough to count. */
function pastRestarts(policy: RestartPolicy, slot: Slot, ended: SlotTask, now: number): number {
  const sinceMs = policy.windowNs === 0 ? Number.NEGATIVE_INFINITY : now - policy.windowNs / 1e6;
  return slot.tasks.filter(
    ({ task, state, status }) =>
      task.id !== ended.task.id &&
      task.revision === ended.task.revision &&
      endedByItself(state) &&
      (status?.atMs ?? 0) >= sinceMs,
  ).length;
}
