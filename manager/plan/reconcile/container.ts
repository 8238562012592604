/**
 * A standalone container: one task at a time, each start a new one on the node that has the container's files. An ordered
 * table of rules says what follows from what is wanted and what became of the newest task.
 */
import type {
  ContainerRun,
  Revision,
  Service,
  ServiceSpec,
  Task,
  TaskRun,
} from '../../../shared/model/index.ts';
import { compareStates, CONTAINER_SLOT, isTerminal } from '../../../shared/model/index.ts';
import { isWired } from '../allocate/rewire.ts';
import { isWanted } from '../states.ts';
import type { View } from '../view.ts';
import type { ServiceDecision, SlotAction } from './actions.ts';
import { earlier } from './actions.ts';
import { nextRestart } from './container-restart.ts';
import type { SlotTask } from './context.ts';
import { ServiceContext } from './context.ts';
import { isGone } from './history.ts';
import { isStopping, STOP_WAIT_MS } from './rules.ts';

interface Situation {
  readonly run: ContainerRun;
  readonly spec: ServiceSpec;
  readonly now: number;
  /** The newest task. */
  readonly latest: SlotTask;
  /** Tasks before it, oldest first. */
  readonly older: readonly SlotTask[];
  /** The latest one's. */
  readonly taskRun: TaskRun;
}

interface Outcome {
  readonly actions?: readonly SlotAction[];
  readonly wakeAt?: number;
  /** The container goes. */
  readonly remove?: true;
}

interface Rule {
  readonly reason: string;
  applies(situation: Situation): boolean;
  outcome(situation: Situation, reason: string): Outcome;
}

const NEW_RUN: TaskRun = { serial: 0, restarts: 0, delayMs: 0 };
const KEY = String(CONTAINER_SLOT);

const RULES: readonly Rule[] = [
  {
    reason: 'not placed, and not wanted any more',
    applies: ({ run, latest, older }) =>
      latest.task.nodeId === undefined && older.length > 0 && run.wanted !== 'running',
    outcome: ({ latest }) => ({ actions: [{ kind: 'delete-task', task: latest.task }] }),
  },
  {
    reason: 'not placed yet',
    applies: ({ latest }) => latest.task.nodeId === undefined,
    outcome: ({ latest, older }) => {
      const nodeId = older.at(-1)?.task.nodeId;
      const where = nodeId === undefined ? {} : { nodeId };
      return { actions: [{ kind: 'place-task', task: latest.task, renew: false, ...where }] };
    },
  },
  {
    reason: 'its node was removed',
    applies: ({ latest }) => latest.node === undefined && !isTerminal(latest.state),
    outcome: ({ latest: { task } }, reason) => ({
      actions: [
        { kind: 'set-desired', task, desired: 'shutdown', reason },
        { kind: 'orphan-task', task, reason },
      ],
    }),
  },
  {
    reason: 'waits to be started again, and is not wanted any more',
    applies: ({ run, latest, taskRun }) =>
      !isTerminal(latest.state) &&
      latest.task.desired === 'ready' &&
      taskRun.serial > 0 &&
      (run.wanted === 'held' || run.wanted === 'stopped'),
    outcome: ({ latest: { task } }, reason) => ({
      actions: [{ kind: 'set-desired', task, desired: 'shutdown', reason }],
    }),
  },
  {
    reason: 'is to stop',
    applies: ({ run, latest }) =>
      !isTerminal(latest.state) && latest.task.desired === 'running' && run.wanted === 'stopped',
    outcome: ({ latest: { task } }, reason) => ({
      actions: [{ kind: 'set-desired', task, desired: 'shutdown', reason }],
    }),
  },
  {
    reason: 'ready, and waiting for its time',
    applies: (situation) => isWaiting(situation) && startsAt(situation) > situation.now,
    outcome: (situation) => ({ wakeAt: startsAt(situation) }),
  },
  {
    reason: 'ready, and its time has come',
    applies: isWaiting,
    outcome: ({ run, latest: { task }, taskRun }, reason) => {
      const begun = run.serial > taskRun.serial ? { ...NEW_RUN, serial: run.serial } : taskRun;
      return { actions: [{ kind: 'set-desired', task, desired: 'running', reason, run: begun }] };
    },
  },
  {
    reason: 'lives',
    applies: ({ latest }) => !isTerminal(latest.state),
    outcome: () => ({}),
  },
  {
    reason: 'ended, and its node was removed',
    applies: ({ latest }) => latest.node === undefined && latest.task.nodeId !== undefined,
    outcome: () => ({}),
  },
  {
    reason: 'ended, and was started again',
    applies: ({ run, taskRun }) => run.wanted === 'running' && run.serial > taskRun.serial,
    outcome: ({ run, latest }, reason) => ({
      actions: [newTask('running', { ...NEW_RUN, serial: run.serial }, reason, latest.task.nodeId)],
    }),
  },
  {
    reason: 'ended, and its policy starts it again',
    applies: ({ run, spec, latest }) => nextRestart(run, spec.restart, latest) !== undefined,
    outcome: ({ run, spec, latest, now }, reason) => {
      const next = nextRestart(run, spec.restart, latest) ?? NEW_RUN;
      return { actions: [newTask('ready', next, reason, latest.task.nodeId, now + next.delayMs)] };
    },
  },
  {
    reason: 'ended, and removes itself',
    applies: ({ run, spec }) =>
      run.wanted !== 'created' && spec.mode.kind === 'container' && spec.mode.autoRemove,
    outcome: () => ({ remove: true }),
  },
];

export function reconcileContainer(
  view: View,
  service: Service,
  revision: Revision,
  now: number,
): ServiceDecision {
  const run = service.run ?? { wanted: 'created', serial: 0 };
  const slots = new ServiceContext(view, service, revision, now).slots();
  const tasks = [...slots.values()].flatMap((slot) => slot.tasks).sort((a, b) => byRun(a.task, b.task));
  const latest = tasks.at(-1);
  if (latest === undefined) {
    const actions = [newTask('ready', NEW_RUN, 'the container was created')];
    return { service: [], slots: [{ key: KEY, actions }], wakeAt: undefined, more: false };
  }
  const older = tasks.slice(0, -1);
  const taskRun = latest.task.run ?? NEW_RUN;
  const outcome = decide({ run, spec: revision.spec, now, latest, older, taskRun });
  const own = outcome.actions ?? rewire(latest, revision.spec);
  const actions = [...own, ...clearOlder(latest, older)];
  return {
    service: outcome.remove === true ? [{ kind: 'remove-service' }] : [],
    slots: actions.length === 0 ? [] : [{ key: KEY, actions }],
    wakeAt: earlier(outcome.wakeAt, undefined),
    more: false,
  };
}

function decide(situation: Situation): Outcome {
  for (const rule of RULES) if (rule.applies(situation)) return rule.outcome(situation, rule.reason);
  return {};
}

function newTask(
  desired: 'ready' | 'running',
  run: TaskRun,
  reason: string,
  nodeId?: string,
  startAfterMs?: number,
): SlotAction {
  return {
    kind: 'create-task',
    slot: CONTAINER_SLOT,
    desired,
    run,
    reason,
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(startAfterMs === undefined ? {} : { startAfterMs }),
  };
}

/** It was connected to a network, or taken from one, since it has its addresses. */
function rewire({ task, state }: SlotTask, spec: ServiceSpec): SlotAction[] {
  if (task.nodeId === undefined || isTerminal(state) || isWired(task, spec)) return [];
  return [{ kind: 'rewire-task', task }];
}

function isWaiting({ run, latest }: Situation): boolean {
  return run.wanted === 'running' && latest.task.desired === 'ready' && !isTerminal(latest.state);
}

/** After the policy's delay, unless a user starts it; and when the task before it has stopped, within bounds. */
function startsAt({ run, latest, older, taskRun, now }: Situation): number {
  let at = run.serial > taskRun.serial ? now : Math.max(now, latest.task.startAfterMs ?? 0);
  for (const item of older) {
    if (isStopping(item)) at = Math.max(at, item.task.desiredAtMs + STOP_WAIT_MS);
  }
  return at;
}

/**
 * A task goes when the one after it has taken over the container's files on the node: never sooner, so that the node always
 * knows whose they are.
 */
function clearOlder(latest: SlotTask, older: readonly SlotTask[]): SlotAction[] {
  if (compareStates(latest.state, 'ready') < 0) return [];
  return older.flatMap((item): SlotAction[] => {
    if (isGone(item)) return [{ kind: 'delete-task', task: item.task }];
    if (!isWanted(item.task)) return [];
    const reason = 'another task has taken its place';
    return [{ kind: 'set-desired', task: item.task, desired: 'shutdown', reason }];
  });
}

/** Orders a container's tasks: by their runs, which grow; times may be equal. */
function byRun(a: Task, b: Task): number {
  const [one, other] = [a.run ?? NEW_RUN, b.run ?? NEW_RUN];
  return (
    one.serial - other.serial ||
    one.restarts - other.restarts ||
    a.createdAtMs - b.createdAtMs ||
    (a.id < b.id ? -1 : 1)
  );
}

/** The newest of a container's tasks; undefined when there is none. */
export function newestTask(tasks: Iterable<Task>): Task | undefined {
  return [...tasks].sort(byRun).at(-1);
}
