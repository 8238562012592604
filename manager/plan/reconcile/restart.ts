/** Whether a task that ended is replaced. The rules are Swarm's (swarmkit, manager/orchestrator/restart). */
import type { RestartPolicy, ServiceSpec } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import { endedByItself } from '../states.ts';
import type { Slot, SlotTask } from './context.ts';

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
