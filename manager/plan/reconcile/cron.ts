/**
 * Jobs on a schedule: a run is a slot, numbered as they come, and its task carries the time that it is for. All is
 * derived from the tasks: the newest one says up to when the schedule was followed.
 */
import { lastTime, nextTime } from '../../../shared/lib/cron.ts';
import type { CronMode } from '../../../shared/model/index.ts';
import type { ServiceDecision, SlotAction, SlotDecision } from './actions.ts';
import { decisionOf, earlier } from './actions.ts';
import type { ServiceContext, Slot } from './context.ts';
import { clearSlot, reapSlot, retained } from './history.ts';
import type { SlotOutcome } from './slot.ts';
import { decideSlot, isActive, shutdown } from './slot.ts';

/** `all`: a slot a run, of whatever revision. `held`: it waits for other services, so no run is started. */
export function reconcileCron(
  context: ServiceContext,
  mode: CronMode,
  all: ReadonlyMap<string, Slot>,
  held: boolean,
): ServiceDecision {
  const runs = [...all.values()].sort((a, b) => a.slot - b.slot);
  const outcomes = runs.map((slot) => decideSlot(context, slot, false));
  const active = outcomes.filter(isActive);
  const due = dueTime(context, mode, runs);
  const starts = due !== undefined && !held && (mode.concurrency !== 'forbid' || active.length === 0);
  const replaces = starts && mode.concurrency === 'replace';
  const old = new Set(runs.slice(0, Math.max(0, runs.length - mode.history)));
  let wakeAt = nextTime(mode.schedule, mode.timeZone, context.now);
  const decisions: SlotDecision[] = [];
  for (const outcome of outcomes) {
    const { slot } = outcome;
    const history = reapSlot(slot, retained(context, false), context.now);
    wakeAt = earlier(earlier(wakeAt, outcome.wakeAt), history.wakeAt);
    decisions.push({ key: slot.key, actions: runActions(outcome, replaces, old.has(slot), history.actions) });
  }
  if (starts) {
    const slot = (runs.at(-1)?.slot ?? -1) + 1;
    decisions.push({ key: String(slot), actions: [startOf(slot, due)] });
  }
  return decisionOf([], decisions, wakeAt, false);
}

/** The newest time of the schedule that nothing was started for and that is not too long ago. */
function dueTime(
  { now, revision }: ServiceContext,
  mode: CronMode,
  runs: readonly Slot[],
): number | undefined {
  const last = lastTime(mode.schedule, mode.timeZone, now);
  const times = runs.flatMap(({ tasks }) => tasks.map(({ task }) => task.scheduledAtMs ?? 0));
  // What the schedule was before the spec changed does not count.
  const followedTo = Math.max(revision.createdAtMs, ...times);
  return last === undefined || last <= followedTo || now - last > mode.catchUpMs ? undefined : last;
}

function runActions(
  outcome: SlotOutcome,
  replaced: boolean,
  old: boolean,
  history: readonly SlotAction[],
): readonly SlotAction[] {
  if (!isActive(outcome))
    return old ? clearSlot(outcome.slot, 'newer runs are kept') : [...outcome.actions, ...history];
  if (!replaced) return [...outcome.actions, ...history];
  const stops = outcome.actions.filter(({ kind }) => kind === 'set-desired' || kind === 'orphan-task');
  const survivors = outcome.survivors.map((item) => shutdown(item, 'the next run has come'));
  return [...stops.filter((action) => !isAbout(action, outcome)), ...survivors, ...history];
}

/** It says something of a task that is told to stop anyway. */
function isAbout(action: SlotAction, { survivors }: SlotOutcome): boolean {
  return action.kind === 'set-desired' && survivors.some(({ task }) => task.id === action.task.id);
}

function startOf(slot: number, scheduledAtMs: number): SlotAction {
  return { kind: 'create-task', slot, desired: 'running', scheduledAtMs, reason: 'its time has come' };
}
