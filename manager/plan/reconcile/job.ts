/**
 * Jobs: tasks that shall complete. Each revision of the service is an execution of its own (Docker's job iteration), and
 * what an earlier one left is asked to go. Semantics: swarmkit, manager/orchestrator/jobs.
 */
import type { ServiceDecision, SlotDecision } from './actions.ts';
import { decisionOf, earlier } from './actions.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';
import { clearSlot, reapSlot, retained } from './history.ts';
import { mayTakeTask, whyNotGlobal } from './nodes.ts';
import type { SlotOutcome } from './slot.ts';
import { decideSlot, isActive } from './slot.ts';

interface Slots {
  readonly open: readonly { readonly slot: Slot; readonly canCreate: boolean }[];
  readonly unwanted: readonly { readonly slot: Slot; readonly reason: string }[];
}

/**
 * `all`: the service's slots with the tasks of all executions. At most `limit` slots are acted upon. `held`: it waits for
 * other services, so it has one task, which says so.
 */
export function reconcileJob(
  context: ServiceContext,
  all: ReadonlyMap<string, Slot>,
  limit: number,
  held: boolean,
): ServiceDecision {
  const { current, earlier: past } = executions(context, all);
  const decisions: SlotDecision[] = past.map((slot) => ({
    key: slot.key,
    actions: clearSlot(slot, 'the job was started anew'),
  }));
  const perNode = context.spec.mode.kind === 'global-job' && !held;
  const { open, unwanted } = perNode ? nodeSlots(context, current) : existing(current);
  for (const { slot, reason } of unwanted)
    decisions.push({ key: slot.key, actions: clearSlot(slot, reason) });
  const outcomes = open.map(({ slot, canCreate }) => decideSlot(context, slot, canCreate));
  let wakeAt: number | undefined;
  for (const outcome of outcomes) {
    const history = reapSlot(outcome.slot, retained(context, false), context.now);
    wakeAt = earlier(earlier(wakeAt, outcome.wakeAt), history.wakeAt);
    decisions.push({ key: outcome.slot.key, actions: [...outcome.actions, ...history.actions] });
  }
  const fresh = newSlots(context, current, outcomes, limit, held);
  for (const slot of fresh.slots) {
    decisions.push({ key: slot.key, actions: decideSlot(context, slot, true).actions });
  }
  return decisionOf([], decisions, wakeAt, fresh.more);
}

/** The slots of this revision's execution, and those of all before it. */
function executions(
  { service }: ServiceContext,
  all: ReadonlyMap<string, Slot>,
): { readonly current: ReadonlyMap<string, Slot>; readonly earlier: readonly Slot[] } {
  const current = new Map<string, Slot>();
  const past: Slot[] = [];
  for (const slot of all.values()) {
    const part = (of: (item: SlotTask) => boolean): Slot => ({ ...slot, tasks: slot.tasks.filter(of) });
    const ours = part(({ task }) => task.revision === service.revision);
    const others = part(({ task }) => task.revision !== service.revision);
    if (ours.tasks.length > 0) current.set(slot.key, ours);
    if (others.tasks.length > 0) past.push({ ...others, key: `earlier/${slot.key}` });
  }
  return { current, earlier: past };
}

function existing(current: ReadonlyMap<string, Slot>): Slots {
  return { open: [...current.values()].map((slot) => ({ slot, canCreate: true })), unwanted: [] };
}

/** A slot for every node that fits. What has completed stays, also on a node that no longer does. */
function nodeSlots(context: ServiceContext, current: ReadonlyMap<string, Slot>): Slots {
  const open: { slot: Slot; canCreate: boolean }[] = [];
  const unwanted: { slot: Slot; reason: string }[] = [];
  for (const node of context.view.nodes.values()) {
    const slot = current.get(node.id);
    const reason = whyNotGlobal(context, node);
    const canCreate = reason === undefined && mayTakeTask(node);
    if (slot !== undefined && reason !== undefined && !isOver(slot)) unwanted.push({ slot, reason });
    else if (slot !== undefined) open.push({ slot, canCreate });
    else if (canCreate) open.push({ slot: { key: node.id, slot: 0, nodeId: node.id, tasks: [] }, canCreate });
  }
  for (const slot of current.values()) {
    if (!context.view.nodes.has(slot.key)) unwanted.push({ slot, reason: 'the node was removed' });
  }
  return { open, unwanted };
}

/** It has completed, or failed and is not tried again. */
function isOver(slot: Slot): boolean {
  return slot.tasks.some(({ task, state }) => task.desired === 'complete' || state === 'complete');
}

/**
 * As many as may run beside those that do, up to the number of completions asked for; the lowest numbers first, from 0 as
 * Docker clients expect.
 */
function newSlots(
  { spec: { mode } }: ServiceContext,
  current: ReadonlyMap<string, Slot>,
  outcomes: readonly SlotOutcome[],
  limit: number,
  held: boolean,
): { readonly slots: readonly Slot[]; readonly more: boolean } {
  if (mode.kind !== 'replicated-job') return { slots: [], more: false };
  const room = mode.maxConcurrent - outcomes.filter(isActive).length;
  const allowed = held ? Math.min(1, mode.totalCompletions) : mode.totalCompletions;
  const count = Math.min(room, allowed - current.size);
  const slots: Slot[] = [];
  for (let number = 0; slots.length < Math.min(count, limit); number += 1) {
    const key = String(number);
    if (!current.has(key)) slots.push({ key, slot: number, tasks: [] });
  }
  return { slots, more: count > limit };
}
