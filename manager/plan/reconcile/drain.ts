/**
 * Draining in steps: of the tasks that leave drained nodes, as many are replaced at a time as an update of the service would
 * replace. Nothing is stopped here; the slot does that once the replacement can be relied on.
 */
import { drainOrderOf } from '../../../shared/model/index.ts';
import { isUp, nsToMs } from '../states.ts';
import type { SlotAction } from './actions.ts';
import { earlier } from './actions.ts';
import type { ServiceContext, SlotTask } from './context.ts';
import { failedMoves, isLeaving, moveBackoffMs, provenAt } from './moves.ts';
import type { SlotOutcome } from './slot.ts';
import type { UpdateDecision } from './update.ts';

export interface DrainDecision {
  /** Replacements to be created now, by slot key. */
  readonly slots: ReadonlyMap<string, readonly SlotAction[]>;
  readonly wakeAt: number | undefined;
  /** Something leaves a drained node. */
  readonly active: boolean;
}

/** A slot whose task leaves and has no replacement. */
interface Candidate {
  readonly outcome: SlotOutcome;
  readonly failures: number;
  /** Not before this time: an attempt has failed. */
  readonly retryAt: number;
}

/** Until when a slot takes one of the places; `undefined`: until something changes. */
type Busy = { readonly until: number | undefined };

const NO_DRAIN: DrainDecision = { slots: new Map(), wakeAt: undefined, active: false };

export function decideDrain(
  context: ServiceContext,
  outcomes: readonly SlotOutcome[],
  update: UpdateDecision,
): DrainDecision {
  const leaving = outcomes.filter(({ survivors }) => survivors.some((item) => isLeaving(context, item)));
  if (leaving.length === 0) return NO_DRAIN;
  const candidates = leaving.flatMap((outcome) => candidateOf(context, outcome, update)).sort(calmestFirst);
  const busy = new Set(update.busy);
  let wakeAt: number | undefined;
  for (const outcome of outcomes) {
    const held = busyOf(context, outcome);
    if (held === undefined) continue;
    busy.add(outcome.slot.key);
    wakeAt = earlier(wakeAt, held.until);
  }
  for (const { outcome, retryAt } of candidates) {
    if (retryAt <= context.now) continue;
    busy.add(outcome.slot.key);
    wakeAt = earlier(wakeAt, retryAt);
  }
  const { parallelism } = context.spec.update;
  const free = parallelism === 0 ? Number.POSITIVE_INFINITY : Math.max(0, parallelism - busy.size);
  const next = candidates.filter(({ retryAt }) => retryAt <= context.now).slice(0, free);
  const desired = drainOrderOf(context.spec) === 'stop-first' ? 'ready' : 'running';
  const slots = next.map(({ outcome: { slot } }): [string, SlotAction[]] => [
    slot.key,
    [{ kind: 'create-task', slot: slot.slot, desired, move: 'drain', reason: 'node is drained' }],
  ]);
  return { slots: new Map(slots), wakeAt, active: true };
}

function candidateOf(context: ServiceContext, outcome: SlotOutcome, update: UpdateDecision): Candidate[] {
  const { slot, survivors, actions } = outcome;
  const [old] = survivors;
  if (old === undefined || !survivors.every((item) => isLeaving(context, item))) return [];
  // A running update replaces it, too.
  if (update.slots.has(slot.key) || (update.active && survivors.some(({ task }) => context.isStale(task))))
    return [];
  if (actions.some(({ kind }) => kind === 'create-task')) return [];
  const failed = failedMoves(context, slot, old);
  const last = failed.at(-1);
  const backoffMs = moveBackoffMs(failed.length, nsToMs(context.spec.restart.delayNs));
  const retryAt = last === undefined ? 0 : last + backoffMs;
  return [{ outcome, failures: failed.length, retryAt }];
}

function calmestFirst(a: Candidate, b: Candidate): number {
  return a.failures - b.failures || a.outcome.slot.slot - b.outcome.slot.slot;
}

/**
 * A slot that moves, until its new task has served for the monitoring time and the delay of an update. Where each step costs
 * a task that serves (stop-first), also any slot in which none does.
 */
function busyOf(context: ServiceContext, { survivors, finished }: SlotOutcome): Busy | undefined {
  const move = survivors.findLast(({ task }) => task.move !== undefined);
  const settledAt = move === undefined ? 0 : settledAtOf(context, move);
  if (settledAt === undefined || settledAt > context.now) return { until: settledAt };
  if (drainOrderOf(context.spec) !== 'stop-first' || finished !== undefined) return undefined;
  return survivors.some(({ status }) => isUp(status)) ? undefined : { until: undefined };
}

function settledAtOf(context: ServiceContext, move: SlotTask): number | undefined {
  const proven = provenAt(context, move);
  return proven === undefined ? undefined : proven + nsToMs(context.spec.update.delayNs);
}
