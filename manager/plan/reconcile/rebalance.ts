/**
 * When one task of a service that asks for it may be moved to level the nodes: only while nothing else is going on. Whether
 * there is a better node, and for which task, the scheduler finds out (schedule/level.ts).
 */
import type { Task } from '../../../shared/model/index.ts';
import { isUp } from '../states.ts';
import type { ServiceContext, SlotTask } from './context.ts';
import { failedMoves, isLeaving, moveBackoffMs, provenAt } from './moves.ts';
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
  let notBefore = nextMoveAt(context, outcomes, rebalanceEveryMs);
  for (const item of items) notBefore = Math.max(notBefore, provenAt(context, item) ?? 0);
  if (notBefore > context.now) return { level: undefined, wakeAt: notBefore };
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
function nextMoveAt(context: ServiceContext, outcomes: readonly SlotOutcome[], everyMs: number): number {
  let begunAt: number | undefined;
  let succeededAt = 0;
  const failedAt: number[] = [];
  for (const { slot, survivors } of outcomes) {
    const [staying] = survivors;
    for (const { task } of slot.tasks)
      if (task.move === 'rebalance') begunAt = Math.max(begunAt ?? 0, task.createdAtMs);
    if (staying === undefined) continue;
    if (staying.task.move === 'rebalance') succeededAt = Math.max(succeededAt, staying.task.createdAtMs);
    failedAt.push(...failedMoves(context, slot, staying));
  }
  if (begunAt === undefined) return 0;
  const failures = failedAt.filter((at) => at > succeededAt).length;
  return begunAt + Math.max(everyMs, failures === 0 ? 0 : moveBackoffMs(failures + 1, everyMs));
}
