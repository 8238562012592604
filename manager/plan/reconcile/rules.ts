/** What is to be done about one wanted task: an ordered table, the first rule that applies decides. */
import { assertNever } from '../../../shared/lib/assert-never.ts';
import type { Task } from '../../../shared/model/index.ts';
import { isJob, isTerminal } from '../../../shared/model/index.ts';
import { isLeavingRoom, isUp, isWanted } from '../states.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';
import { fitsConstraints } from './dirty.ts';
import { isLeaving, isMoving, movesOnAt, withoutAttempts } from './moves.ts';
import { AT_ONCE, restartPolicyOf, type Retry, retryAfter, shouldRestart } from './restart.ts';

export type Verdict =
  | { readonly kind: 'keep' }
  | { readonly kind: 'place' }
  | { readonly kind: 'renew' }
  | { readonly kind: 'promote' }
  /** Nothing before this time. */
  | { readonly kind: 'wait'; readonly untilMs: number | undefined }
  /** It ended and is not replaced. */
  | { readonly kind: 'finish' }
  | { readonly kind: 'replace'; readonly retry: Retry; readonly orphan: boolean };

interface Rule {
  readonly reason: string;
  applies(context: ServiceContext, slot: Slot, item: SlotTask): boolean;
  verdict(context: ServiceContext, slot: Slot, item: SlotTask): Verdict;
}

/** A replacement does not wait longer than this for the task before it to stop. */
export const STOP_WAIT_MS = 60_000;

const MOVE: Verdict = { kind: 'replace', retry: AT_ONCE, orphan: false };

const RULES: readonly Rule[] = [
  {
    // It is placed by the current spec, so it has to name it: else its own constraints would evict it again.
    reason: 'the service was updated before it was placed',
    applies: ({ service }, _slot, { task }) =>
      task.nodeId === undefined && task.revision !== service.revision,
    verdict: () => ({ kind: 'renew' }),
  },
  {
    reason: 'not placed yet',
    applies: (_context, _slot, { task }) => task.nodeId === undefined,
    verdict: () => ({ kind: 'place' }),
  },
  {
    reason: 'node was removed',
    // A job's task that has completed there has done its part.
    applies: ({ spec }, _slot, { node, state }) =>
      node === undefined && !(isJob(spec.mode) && state === 'complete'),
    verdict: () => ({ kind: 'replace', retry: AT_ONCE, orphan: true }),
  },
  {
    // Without this, a task that can not even be prepared (no such image) would be replaced as fast as it fails.
    reason: 'ended while it waited for its restart delay',
    applies: ({ now }, _slot, { task, state }) =>
      isTerminal(state) && task.desired === 'ready' && (task.startAfterMs ?? 0) > now,
    verdict: (_context, _slot, { task }) => ({ kind: 'wait', untilMs: task.startAfterMs }),
  },
  {
    reason: 'ended, and no replacement is asked for',
    applies: (context, slot, item) =>
      isTerminal(item.state) &&
      item.state !== 'orphaned' &&
      !shouldRestart(restartPolicyOf(context.spec), withoutAttempts(context, slot), item, context.now),
    verdict: () => ({ kind: 'finish' }),
  },
  {
    // With an older one still there (start-first) there is nothing to wait for.
    reason: 'ended, and its node can not run another',
    applies: (context, slot, { node, state }) =>
      isTerminal(state) &&
      context.isGlobal &&
      !(node?.status === 'ready' && node.spec.availability === 'active') &&
      !slot.tasks.some((other) => isWanted(other.task) && !isTerminal(other.state)),
    verdict: () => ({ kind: 'wait', untilMs: undefined }),
  },
  {
    reason: 'ended',
    applies: (_context, _slot, { state }) => isTerminal(state),
    verdict: (context, _slot, item) => ({
      kind: 'replace',
      retry: retryAfter(context, item),
      orphan: false,
    }),
  },
  {
    reason: 'node is down',
    applies: (context, _slot, { node }) => !context.isGlobal && node?.status === 'down',
    verdict: () => MOVE,
  },
  {
    reason: 'node is drained',
    // One that serves stays until another has taken its place.
    applies: (context, _slot, item) =>
      !context.isGlobal && item.node?.spec.availability === 'drain' && !isLeaving(context, item),
    verdict: () => MOVE,
  },
  {
    reason: 'node no longer meets the constraints',
    applies: (context, _slot, { task, node }) =>
      !context.isGlobal && node !== undefined && !fitsConstraints(node, context.constraintsOf(task)),
    verdict: () => MOVE,
  },
  {
    reason: 'did not come up in time',
    applies: (context, slot, item) =>
      isMoving(slot, item) &&
      !isUp(item.status) &&
      (movesOnAt(context, item) ?? Number.POSITIVE_INFINITY) <= context.now,
    verdict: () => MOVE,
  },
  {
    reason: 'is to take the place of another, which has not been told to stop',
    applies: (_context, slot, item) => isMoving(slot, item),
    verdict: (context, _slot, item) => ({ kind: 'wait', untilMs: movesOnAt(context, item) }),
  },
  {
    reason: 'ready, and waiting for its time',
    applies: (context, slot, { task }) =>
      task.desired === 'ready' && startsAt(slot, task.id, context.now) > context.now,
    verdict: (context, slot, { task }) => ({ kind: 'wait', untilMs: startsAt(slot, task.id, context.now) }),
  },
  {
    reason: 'ready, and waiting for the tasks that were preempted for it',
    applies: (context, _slot, { task }) => task.preempting === true && isRoomHeld(context, task),
    verdict: () => ({ kind: 'wait', untilMs: undefined }),
  },
  {
    reason: 'ready, and its time has come',
    applies: (_context, _slot, { task }) => task.desired === 'ready',
    verdict: () => ({ kind: 'promote' }),
  },
];

/** The first rule that applies to a task that is wanted; `keep` when none does. */
export function judge(
  context: ServiceContext,
  slot: Slot,
  item: SlotTask,
): Verdict & { readonly reason: string } {
  for (const rule of RULES) {
    if (rule.applies(context, slot, item))
      return { ...rule.verdict(context, slot, item), reason: rule.reason };
  }
  return { kind: 'keep', reason: 'as it should be' };
}

/** True when the task goes on after this verdict. */
export function survives(verdict: Verdict): boolean {
  switch (verdict.kind) {
    case 'keep':
    case 'place':
    case 'renew':
    case 'promote':
      return true;
    case 'wait':
      return true;
    case 'finish':
    case 'replace':
      return false;
    default:
      return assertNever(verdict);
  }
}

/** When a task in `ready` may run: after its delay, and when what was told to stop in its slot has, within bounds. */
function startsAt(slot: Slot, taskId: string, now: number): number {
  let at = now;
  for (const item of slot.tasks) {
    if (item.task.id === taskId) at = Math.max(at, item.task.startAfterMs ?? 0);
    else if (isStopping(item)) at = Math.max(at, item.task.desiredAtMs + STOP_WAIT_MS);
  }
  return at;
}

/** Of all that is preempted on the node, whoever it is for: in what order it ends is not known. */
function isRoomHeld({ view }: ServiceContext, { nodeId }: Task): boolean {
  for (const id of view.tasksOfNode(nodeId ?? '')) {
    const other = view.tasks.get(id);
    if (other !== undefined && isLeavingRoom(other, view.statuses.get(id))) return true;
  }
  return false;
}

/** Told to stop, not known to have stopped, and on a node that can be expected to do it. */
export function isStopping({ task, state, node }: SlotTask): boolean {
  return (
    task.nodeId !== undefined &&
    (task.desired === 'shutdown' || task.desired === 'remove') &&
    !isTerminal(state) &&
    node !== undefined &&
    node.status !== 'down'
  );
}
