/** One slot that should be filled: what to do about the tasks in it. */
import type { SlotAction } from './actions.ts';
import { earlier } from './actions.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';
import type { Retry } from './restart.ts';
import { isStopping, judge, survives } from './rules.ts';
import type { Verdict } from './rules.ts';
import { hasTakenOver, outgoingOf } from './moves.ts';
import { isUp, isWanted } from '../states.ts';

export interface SlotOutcome {
  readonly slot: Slot;
  readonly actions: readonly SlotAction[];
  readonly wakeAt: number | undefined;
  /** Wanted tasks that stay. */
  readonly survivors: readonly SlotTask[];
  /** It ended and is not to be replaced. */
  readonly finished: SlotTask | undefined;
  /** The slot can take a new task. */
  readonly canCreate: boolean;
}

/** Something of it runs, or will. */
export function isActive({ survivors, actions }: SlotOutcome): boolean {
  return survivors.length > 0 || actions.some(({ kind }) => kind === 'create-task');
}

type Judged = { readonly item: SlotTask; readonly verdict: Verdict & { readonly reason: string } };

/** `canCreate` false: a global service's node takes no new task just now. */
export function decideSlot(context: ServiceContext, slot: Slot, canCreate: boolean): SlotOutcome {
  const judged = slot.tasks
    .filter(({ task }) => isWanted(task))
    .map((item): Judged => ({ item, verdict: judge(context, slot, item) }));
  const staying = judged.filter(({ verdict }) => survives(verdict));
  const surplus = surplusOf(
    context,
    staying.map(({ item }) => item),
  );
  const survivors = staying.filter(({ item }) => !surplus.has(item));
  const finished = slot.tasks.find(({ task }) => task.desired === 'complete');
  const actions: SlotAction[] = [];
  let wakeAt: number | undefined;
  for (const { item, verdict } of survivors) {
    if (verdict.kind === 'wait') wakeAt = earlier(wakeAt, verdict.untilMs);
    else actions.push(...survivorActions(item, verdict));
  }
  for (const item of surplus) actions.push(shutdown(item, 'another task has taken its place'));
  const leaving = judged.filter(({ verdict }) => !survives(verdict));
  actions.push(...leavingActions(context, slot, leaving, survivors.length > 0));
  if (judged.length === 0 && finished === undefined && canCreate) actions.push(fresh(slot));
  return { slot, actions, wakeAt, survivors: survivors.map(({ item }) => item), finished, canCreate };
}

/**
 * Tasks beyond those that a slot needs: one that is to stay, and beside it one that is outgoing (outdated, or leaving a
 * drained node) until that has taken over. Of equals the one that is up stays, then the oldest, the newest outgoing.
 */
function surplusOf(context: ServiceContext, items: readonly SlotTask[]): Set<SlotTask> {
  if (items.length < 2) return new Set();
  const outgoing = outgoingOf(context, items);
  const staying = items.filter((item) => !outgoing.has(item));
  const going = items.filter((item) => outgoing.has(item));
  const keep = new Set<SlotTask | undefined>();
  const best = staying.find(({ status }) => isUp(status)) ?? staying[0];
  keep.add(best);
  if (best === undefined || !hasTakenOver(context, best))
    keep.add(going.find(({ status }) => isUp(status)) ?? going.at(-1));
  return new Set(items.filter((item) => !keep.has(item)));
}

function survivorActions(item: SlotTask, verdict: Verdict): SlotAction[] {
  switch (verdict.kind) {
    case 'place':
      return [{ kind: 'place-task', task: item.task, renew: false }];
    case 'renew':
      return [{ kind: 'place-task', task: item.task, renew: true }];
    case 'promote':
      return [{ kind: 'set-desired', task: item.task, desired: 'running', reason: 'its time has come' }];
    default:
      return [];
  }
}

function leavingActions(
  context: ServiceContext,
  slot: Slot,
  leaving: readonly Judged[],
  filled: boolean,
): SlotAction[] {
  const actions: SlotAction[] = [];
  let replacement: SlotAction | undefined;
  for (const { item, verdict } of leaving) {
    if (verdict.kind === 'finish' && !filled) {
      const reason = verdict.reason;
      actions.push({ kind: 'set-desired', task: item.task, desired: 'complete', reason });
      continue;
    }
    actions.push(shutdown(item, verdict.reason));
    if (verdict.kind !== 'replace') continue;
    if (verdict.orphan) actions.push({ kind: 'orphan-task', task: item.task, reason: verdict.reason });
    if (!filled) replacement = replacementFor(context, slot, item, verdict.retry, verdict.reason);
  }
  if (replacement !== undefined) actions.push(replacement);
  return actions;
}

/** A new task for the slot of `old`, which is told to stop: waits for the delay, and for `old` if that can stop. */
export function replacementFor(
  context: ServiceContext,
  slot: Slot,
  old: SlotTask,
  { delayMs, failures }: Retry,
  reason: string,
): SlotAction {
  const task = { ...old.task, desired: 'shutdown' as const };
  const waits = delayMs > 0 || isStopping({ ...old, task });
  return {
    kind: 'create-task',
    slot: slot.slot,
    ...(slot.nodeId === undefined ? {} : { nodeId: slot.nodeId }),
    desired: waits ? 'ready' : 'running',
    ...(delayMs > 0 ? { startAfterMs: context.now + delayMs } : {}),
    ...(failures > 0 ? { failures } : {}),
    ...(old.task.scheduledAtMs === undefined ? {} : { scheduledAtMs: old.task.scheduledAtMs }),
    reason,
  };
}

export function shutdown(item: SlotTask, reason: string): SlotAction {
  return { kind: 'set-desired', task: item.task, desired: 'shutdown', reason };
}

function fresh(slot: Slot): SlotAction {
  return {
    kind: 'create-task',
    slot: slot.slot,
    ...(slot.nodeId === undefined ? {} : { nodeId: slot.nodeId }),
    desired: slot.tasks.some(isStopping) ? 'ready' : 'running',
    reason: 'the slot is empty',
  };
}
