/**
 * When one task of a service that asks for it may be moved to level the nodes: only while nothing else is going on. Whether
 * there is a better node, and for which task, the scheduler finds out (schedule/level.ts).
 */
import type { Task } from '../../../shared/model/index.ts';
import { endedByItself, isUp } from '../states.ts';
import { earlier } from './actions.ts';
import type { ServiceContext, SlotTask } from './context.ts';
import { isLeaving, moveBackoffMs, moveDeadlineMs, provenAt } from './moves.ts';
import type { SlotOutcome } from './slot.ts';
import { currentStatus } from './update.ts';

export interface RebalanceDecision {
  /** All tasks of the service, when one of them may be moved now. */
  readonly level: readonly Task[] | undefined;
  readonly wakeAt: number | undefined;
}

const NO_REBALANCE: RebalanceDecision = { level: undefined, wakeAt: undefined };

export function decideRebalance(
  context: ServiceContext,
  outcomes: readonly SlotOutcome[],
): RebalanceDecision {
  const { mode, placement, rebalanceEveryMs } = context.spec;
  if (rebalanceEveryMs === undefined || mode.kind !== 'replicated' || placement.strategy === 'binpack')
    return NO_REBALANCE;
  const state = currentStatus(context)?.state;
  if (state !== undefined && state !== 'completed' && state !== 'rollback-completed') return NO_REBALANCE;
  const items = outcomes.flatMap((outcome) => steadyTask(context, outcome) ?? []);
  if (items.length < outcomes.length || !canBeUneven(context, items)) return NO_REBALANCE;
  let notBefore: number | undefined = nextMoveAt(outcomes, rebalanceEveryMs, moveDeadlineMs(context.spec));
  for (const item of items) notBefore = Math.max(notBefore, provenAt(context, item) ?? 0);
  if (notBefore > context.now) return { level: undefined, wakeAt: earlier(notBefore, undefined) };
  return { level: items.map(({ task }) => task), wakeAt: undefined };
}

/** The only task of a slot, when it serves and has no reason to go. */
function steadyTask(context: ServiceContext, { survivors, actions }: SlotOutcome): SlotTask | undefined {
  const [item] = survivors;
  if (item === undefined || survivors.length > 1 || actions.length > 0) return undefined;
  if (!isUp(item.status) || item.task.desired !== 'running' || item.node?.status !== 'ready')
    return undefined;
  return context.isStale(item.task) || isLeaving(context, item) ? undefined : item;
}

/** Spares the look at all nodes: with one task a node, and no values to spread over, no node has too many. */
function canBeUneven({ spec }: ServiceContext, items: readonly SlotTask[]): boolean {
  const nodes = new Set(items.map(({ task }) => task.nodeId));
  return nodes.size < items.length || (spec.placement.spread.length > 0 && items.length > 1);
}

/** One interval after the last move was begun; after moves that failed, ever later. */
function nextMoveAt(outcomes: readonly SlotOutcome[], everyMs: number, deadlineMs: number): number {
  const moves = outcomes
    .flatMap(({ slot }) => slot.tasks.filter(({ task }) => task.move === 'rebalance'))
    .sort((a, b) => b.task.createdAtMs - a.task.createdAtMs);
  const [last] = moves;
  if (last === undefined) return 0;
  const succeeded = moves.findIndex((item) => !hasFailed(item, deadlineMs));
  const failures = succeeded < 0 ? moves.length : succeeded;
  return (
    last.task.createdAtMs +
    (failures === 0 ? everyMs : Math.max(everyMs, moveBackoffMs(failures + 1, everyMs)))
  );
}

function hasFailed({ task, state }: SlotTask, deadlineMs: number): boolean {
  return (
    endedByItself(state) || (task.desired === 'shutdown' && task.desiredAtMs - task.createdAtMs >= deadlineMs)
  );
}
