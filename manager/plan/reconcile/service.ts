/** What one service needs: which slots should be filled, what each of them needs, updates, history, removal. */
import type { Revision, Service } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import { revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import type { ServiceAction, ServiceDecision, SlotAction, SlotDecision } from './actions.ts';
import { decisionOf, earlier, NOTHING } from './actions.ts';
import type { Slot } from './context.ts';
import { reconcileContainer } from './container.ts';
import { isOccupied, ServiceContext } from './context.ts';
import { reconcileCron } from './cron.ts';
import { gateOf } from './dependencies.ts';
import { clearSlot, reapSlot, retained } from './history.ts';
import { reconcileJob } from './job.ts';
import { mayTakeTask, whyNotGlobal } from './nodes.ts';
import { isStopping } from './rules.ts';
import { chooseVictims } from './scale.ts';
import { scaleOf } from './service-scale.ts';
import type { SlotOutcome } from './slot.ts';
import { decideSlot } from './slot.ts';
import { decideMoves, NO_MOVES } from './pace.ts';
import { decideUpdate } from './update.ts';

/** Revisions that are kept although no task names them. */
export const REVISION_HISTORY = 10;

interface Slots {
  /** To be filled. */
  readonly wanted: readonly { readonly slot: Slot; readonly canCreate: boolean }[];
  readonly unwanted: readonly { readonly slot: Slot; readonly reason: string }[];
  readonly more: boolean;
}

/** `limit` bounds the number of slots that are filled anew. */
export function reconcileService(view: View, service: Service, now: number, limit: number): ServiceDecision {
  const revision = view.revisions.get(revisionKey(service.id, service.revision));
  if (service.removing === true) return removeService(view, service, revision, now);
  if (revision === undefined) return NOTHING;
  if (service.run !== undefined) return reconcileContainer(view, service, revision, now);
  const context = new ServiceContext(view, service, revision, now);
  const all = context.slots();
  const gate = gateOf(view, service, revision.spec);
  const released: ServiceAction[] = gate.kind === 'met' ? [{ kind: 'release' }] : [];
  const held = gate.kind === 'held';
  if (isJob(context.spec.mode)) {
    const { mode } = context.spec;
    const job =
      mode.kind === 'cron'
        ? reconcileCron(context, mode, all, held)
        : reconcileJob(context, all, limit, held);
    const decision = { ...job, service: [...released, ...job.service, ...oldRevisions(context, all)] };
    return held ? { ...decision, hold: gate.reason } : decision;
  }
  const scale = scaleOf(context, all, held);
  const chosen = chooseSlots(context, all, limit, held, scale.replicas);
  const outcomes = chosen.wanted.map(({ slot, canCreate }) => decideSlot(context, slot, canCreate));
  const update = decideUpdate(context, outcomes);
  const moves = held ? NO_MOVES : decideMoves(context, outcomes, update);
  const decisions: SlotDecision[] = [];
  let wakeAt = earlier(earlier(update.wakeAt, scale.wakeAt), moves.wakeAt);
  for (const { slot, reason } of chosen.unwanted)
    decisions.push({ key: slot.key, actions: clearSlot(slot, reason) });
  for (const outcome of outcomes) {
    const { key } = outcome.slot;
    const history = reapSlot(outcome.slot, retained(context, moves.active), now);
    wakeAt = earlier(earlier(wakeAt, outcome.wakeAt), history.wakeAt);
    const actions = mergeSlotActions(outcome, update.slots.get(key) ?? moves.slots.get(key), history.actions);
    decisions.push({ key, actions });
  }
  const service1 = [...released, ...scale.service, ...update.service, ...oldRevisions(context, all)];
  const decision = {
    ...decisionOf(service1, decisions, wakeAt, chosen.more),
    ...(scale.recommended === undefined ? {} : { recommended: scale.recommended }),
  };
  if (held) return { ...decision, hold: gate.reason };
  return moves.level === undefined ? decision : { ...decision, level: moves.level };
}

/**
 * Of a service that is held back, one slot is filled: a pending task that says what is waited for. A global service has no
 * task without a node, so it has none.
 */
function chooseSlots(
  context: ServiceContext,
  all: Map<string, Slot>,
  limit: number,
  held: boolean,
  replicas: number,
): Slots {
  if (context.spec.mode.kind === 'replicated') {
    return replicatedSlots(all, limit, held ? Math.min(1, replicas) : replicas);
  }
  return held ? { wanted: [], unwanted: [], more: false } : globalSlots(context, all);
}

/** A slot that the rules act on is not updated in the same breath, but for placing and promoting. */
function mergeSlotActions(
  outcome: SlotOutcome,
  update: readonly SlotAction[] | undefined,
  history: readonly SlotAction[],
): SlotAction[] {
  if (update === undefined) return [...outcome.actions, ...history];
  return [...outcome.actions.filter(({ kind }) => kind !== 'place-task'), ...update, ...history];
}

function replicatedSlots(all: Map<string, Slot>, limit: number, replicas: number): Slots {
  const occupied: Slot[] = [];
  const idle: Slot[] = [];
  for (const slot of all.values()) (isOccupied(slot) ? occupied : idle).push(slot);
  const victims = chooseVictims(occupied, occupied.length - replicas);
  const filled = emptySlots(all, idle, Math.min(limit, replicas - occupied.length));
  const wanted = [...occupied.filter((slot) => !victims.has(slot)), ...filled];
  wanted.sort((a, b) => a.slot - b.slot);
  const taken = new Set(filled);
  return {
    wanted: wanted.map((slot) => ({ slot, canCreate: true })),
    unwanted: [...victims, ...idle.filter((slot) => !taken.has(slot))].map((slot) => ({
      slot,
      reason: 'the service was scaled down',
    })),
    more: replicas - occupied.length > limit,
  };
}

/** Slots to fill, lowest first; a slot whose last task is still stopping is left out. */
function emptySlots(all: ReadonlyMap<string, Slot>, idle: readonly Slot[], count: number): Slot[] {
  const free = new Map(idle.filter((slot) => !slot.tasks.some(isStopping)).map((slot) => [slot.slot, slot]));
  const slots: Slot[] = [];
  for (let number = 1; slots.length < count; number += 1) {
    const key = String(number);
    const slot = free.get(number) ?? (all.has(key) ? undefined : { key, slot: number, tasks: [] });
    if (slot !== undefined) slots.push(slot);
  }
  return slots;
}

function globalSlots(context: ServiceContext, all: ReadonlyMap<string, Slot>): Slots {
  const wanted: { slot: Slot; canCreate: boolean }[] = [];
  const unwanted: { slot: Slot; reason: string }[] = [];
  for (const node of context.view.nodes.values()) {
    const slot = all.get(node.id);
    const reason = whyNotGlobal(context, node);
    if (reason === undefined) {
      const canCreate = mayTakeTask(node);
      if (slot !== undefined || canCreate) {
        wanted.push({ slot: slot ?? { key: node.id, slot: 0, nodeId: node.id, tasks: [] }, canCreate });
      }
    } else if (slot !== undefined) unwanted.push({ slot, reason });
  }
  for (const slot of all.values()) {
    if (!context.view.nodes.has(slot.key)) unwanted.push({ slot, reason: 'the node was removed' });
  }
  return { wanted, unwanted, more: false };
}

function removeService(
  view: View,
  service: Service,
  revision: Revision | undefined,
  now: number,
): ServiceDecision {
  const slots: SlotDecision[] = [];
  if (revision !== undefined) {
    const context = new ServiceContext(view, service, revision, now);
    for (const slot of context.slots().values()) {
      slots.push({ key: slot.key, actions: clearSlot(slot, 'the service was removed') });
    }
  }
  if (view.tasksOfService(service.id).size > 0) return decisionOf([], slots, undefined, false);
  return { ...NOTHING, service: [{ kind: 'delete-service' }] };
}

/** Revisions beyond the history that no task names. Looked for just below it, where they become old. */
function oldRevisions({ view, service }: ServiceContext, slots: ReadonlyMap<string, Slot>): ServiceAction[] {
  const newest = service.revision - REVISION_HISTORY;
  if (newest < 1) return [];
  const named = new Set<number | undefined>([service.previousRevision]);
  for (const slot of slots.values()) for (const { task } of slot.tasks) named.add(task.revision);
  const actions: ServiceAction[] = [];
  for (let revision = newest; revision > Math.max(0, newest - 20); revision -= 1) {
    if (named.has(revision) || !view.revisions.has(revisionKey(service.id, revision))) continue;
    actions.push({ kind: 'delete-revision', revision });
  }
  return actions;
}
