/** Tasks that are no longer wanted: kept as history up to a limit, then deleted, so that records never pile up. */
import { isTerminal } from '../../../shared/model/index.ts';
import type { SlotAction } from './actions.ts';
import { earlier } from './actions.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';

/** A task on a node that has been down this long is given up (swarmkit's defaultNodeDownPeriod). */
export const ORPHAN_AFTER_MS = 24 * 3_600_000;

export interface HistoryDecision {
  readonly actions: readonly SlotAction[];
  readonly wakeAt: number | undefined;
}

/**
 * How many ended tasks a slot keeps. Enough to count restarts by; while an update runs, what it may have to be judged by; and
 * where tasks move, the attempt that failed, so that the next one waits.
 */
export function retained({ view, spec, service }: ServiceContext, moves: boolean): number {
  const state = service.updateStatus?.state;
  const floor = moves || state === 'updating' || state === 'rollback-started' ? 1 : 0;
  const attempts = spec.restart.maxAttempts === 0 ? 0 : spec.restart.maxAttempts + 1;
  return Math.max(view.cluster.taskHistoryLimit, attempts, floor);
}

/**
 * Deletes what is gone and not worth keeping in a slot. `retain` ended tasks stay, the newest; of those that are to be
 * removed or were never placed, none.
 */
export function reapSlot(slot: Slot, retain: number, now: number): HistoryDecision {
  const actions: SlotAction[] = [];
  const ended: SlotTask[] = [];
  let wakeAt: number | undefined;
  for (const item of slot.tasks) {
    const fate = fateOf(item, now);
    if (fate.kind === 'delete') actions.push({ kind: 'delete-task', task: item.task });
    else if (fate.kind === 'ended') ended.push(item);
    else if (fate.kind === 'orphan')
      actions.push({ kind: 'orphan-task', task: item.task, reason: fate.reason });
    else wakeAt = earlier(wakeAt, fate.wakeAt);
  }
  for (const { task } of ended.slice(0, Math.max(0, ended.length - retain))) {
    actions.push({ kind: 'delete-task', task });
  }
  return { actions, wakeAt };
}

/** Deletes what is gone in a slot that nobody wants, and asks the rest to go. */
export function clearSlot(slot: Slot, reason: string): SlotAction[] {
  return slot.tasks.flatMap((item): SlotAction[] => {
    if (isGone(item)) return [{ kind: 'delete-task', task: item.task }];
    if (item.task.desired === 'remove') return [];
    return [{ kind: 'set-desired', task: item.task, desired: 'remove', reason }];
  });
}

/**
 * Nothing of it runs, as far as can be known: it ended, never had a node, or its node is removed or down. (A node that
 * comes back stops every task that it is not told to have.)
 */
export function isGone({ task, state, node }: SlotTask): boolean {
  return task.nodeId === undefined || isTerminal(state) || node === undefined || node.status === 'down';
}

type Fate =
  | { readonly kind: 'delete' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'orphan'; readonly reason: string }
  | { readonly kind: 'stay'; readonly wakeAt: number | undefined };

function fateOf(item: SlotTask, now: number): Fate {
  const { task, state, node } = item;
  const stopped = task.desired === 'shutdown' || task.desired === 'complete';
  if (task.desired === 'remove')
    return isGone(item) ? { kind: 'delete' } : { kind: 'stay', wakeAt: undefined };
  if (stopped && task.nodeId === undefined) return { kind: 'delete' };
  if (isTerminal(state)) {
    // A finished task holds its slot: it is what keeps the slot from being filled again.
    return stopped && task.desired !== 'complete' ? { kind: 'ended' } : { kind: 'stay', wakeAt: undefined };
  }
  if (task.nodeId === undefined) return { kind: 'stay', wakeAt: undefined };
  if (node === undefined) {
    // A wanted one is orphaned together with its replacement, by the rules.
    return stopped ? { kind: 'orphan', reason: 'its node was removed' } : { kind: 'stay', wakeAt: undefined };
  }
  if (node.status !== 'down') return { kind: 'stay', wakeAt: undefined };
  const orphanAt = node.statusAtMs + ORPHAN_AFTER_MS;
  if (orphanAt > now) return { kind: 'stay', wakeAt: orphanAt };
  return { kind: 'orphan', reason: 'its node has been down for 24 hours' };
}
