/** When a standalone container is started again by its restart policy. The rules are Docker's (moby, restartmanager). */
import type {
  ContainerRun,
  RestartPolicy,
  Task,
  TaskRun,
  TaskState,
  TaskStatus,
} from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';

/** The first delay; each one is twice the last. */
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 60_000;
/** After a run of this length the delays begin anew. */
const SETTLED_MS = 10_000;

export interface EndedRun {
  readonly task: Task;
  readonly state: TaskState;
  readonly status: TaskStatus | undefined;
}

/**
 * The run that follows a task which has ended, or undefined when none does: nobody wants it any more, it never came to run
 * (a policy takes effect after a start that succeeded), or the policy is done with it.
 */
export function nextRestart(run: ContainerRun, policy: RestartPolicy, ended: EndedRun): TaskRun | undefined {
  const { task, state, status } = ended;
  if (run.wanted !== 'running' || !isTerminal(state) || status?.startedAtMs === undefined) return undefined;
  // Told to stop, or given up.
  if (state === 'shutdown' || state === 'orphaned' || policy.condition === 'none') return undefined;
  if (policy.condition === 'on-failure' && state === 'complete') return undefined;
  const { serial, restarts, delayMs } = task.run ?? { serial: 0, restarts: 0, delayMs: 0 };
  if (policy.maxAttempts > 0 && restarts >= policy.maxAttempts) return undefined;
  const settled = status.atMs - status.startedAtMs >= SETTLED_MS;
  const next = settled ? FIRST_DELAY_MS : Math.max(FIRST_DELAY_MS, delayMs * 2);
  return { serial, restarts: restarts + 1, delayMs: Math.min(next, MAX_DELAY_MS) };
}
