/**
 * Rolling updates, derived from the records alone: a task of this update is a current one created since it began, so any
 * leader can take over in the middle. Rules and defaults are Swarm's (swarmkit, manager/orchestrator/update).
 */
import type { UpdateConfig, UpdateStatus } from '../../../shared/model/index.ts';
import { compareStates, DEFAULT_UPDATE_DEADLINE_MS, isTerminal } from '../../../shared/model/index.ts';
import { endedByItself, isUp, isWanted, nsToMs, revisionKey } from '../states.ts';
import type { ServiceAction, SlotAction } from './actions.ts';
import { earlier } from './actions.ts';
import type { ServiceContext, SlotTask } from './context.ts';
import { retryAfter } from './restart.ts';
import { isStopping } from './rules.ts';
import type { SlotOutcome } from './slot.ts';
import { replacementFor, shutdown } from './slot.ts';

export interface UpdateDecision {
  readonly service: readonly ServiceAction[];
  /** Actions of the slots that are replaced now, by slot key. */
  readonly slots: ReadonlyMap<string, readonly SlotAction[]>;
  readonly wakeAt: number | undefined;
  /** It goes on: what is outdated will be replaced by it. */
  readonly active: boolean;
  /** Keys of the slots that take its places now. */
  readonly busy: ReadonlySet<string>;
}

/** Where one slot stands in the update. */
interface Progress {
  readonly outcome: SlotOutcome;
  /** What it runs is outdated and nothing current is on the way. */
  readonly outdated: SlotTask | undefined;
  /** The update has put a task into this slot. */
  readonly touched: boolean;
  /** A task of the update ended in this slot before it had run for the monitoring time, or does not come up. */
  readonly failed: SlotTask | undefined;
  /** When what is on its way is given up; undefined: nothing is. */
  readonly deadlineAt: number | undefined;
  /** Takes one of the update's places until this time; undefined: until something changes. */
  readonly busyUntil: number | undefined;
  /** Nothing more can be held against it from this time on; undefined: until something changes. */
  readonly settledAt: number | undefined;
}

/** A global service's next task may have to wait for what the last one held; this long after that the update goes on. */
const REFILL_MS = 1000;

const NO_UPDATE: UpdateDecision = {
  service: [],
  slots: new Map(),
  wakeAt: undefined,
  active: false,
  busy: new Set(),
};

export function decideUpdate(context: ServiceContext, outcomes: readonly SlotOutcome[]): UpdateDecision {
  const begun = currentStatus(context);
  const active = begun !== undefined && isActive(begun);
  const startedAtMs = active ? begun.startedAtMs : Math.max(context.now, context.revision.createdAtMs);
  if (begun !== undefined && !active && !isCompleted(begun)) return NO_UPDATE;
  const rollingBack = begun?.state === 'rollback-started';
  const config = rollingBack ? context.spec.rollback : context.spec.update;
  // A global service's node that takes no task is left out: it is updated when it takes one again.
  const open = outcomes.filter(({ canCreate }) => canCreate);
  const all = open.map((outcome) => progressOf(context, outcome, config, startedAtMs));
  const outdated = all.filter((slot) => slot.outdated !== undefined);
  if (!active) {
    if (outdated.length === 0) return NO_UPDATE;
    const started = setStatus({ state: 'updating', startedAtMs, message: 'update in progress' });
    return { ...advance(context, config, all, outdated), service: [started] };
  }
  const alarm = failureAction(context, begun, config, all, outdated.length);
  if (alarm !== undefined) return { ...NO_UPDATE, service: [alarm], active: true };
  return outdated.length > 0 ? advance(context, config, all, outdated) : settle(context, begun, all);
}

/** The status, unless it tells of an earlier revision's update. */
export function currentStatus({ service, revision }: ServiceContext): UpdateStatus | undefined {
  const status = service.updateStatus;
  return status !== undefined && status.startedAtMs >= revision.createdAtMs ? status : undefined;
}

function isActive(status: UpdateStatus): boolean {
  return status.state === 'updating' || status.state === 'rollback-started';
}

function isCompleted(status: UpdateStatus): boolean {
  return status.state === 'completed' || status.state === 'rollback-completed';
}

function setStatus(status: UpdateStatus): ServiceAction {
  return { kind: 'set-update-status', status };
}

function progressOf(
  context: ServiceContext,
  outcome: SlotOutcome,
  config: UpdateConfig,
  startedAtMs: number,
): Progress {
  const monitorMs = nsToMs(config.monitorNs);
  const ours = outcome.slot.tasks.filter(
    ({ task }) => task.createdAtMs >= startedAtMs && !context.isOutdated(task),
  );
  const coming = ours.filter(isComing);
  const hung = coming.find((item) => deadlineOf(context, item) <= context.now);
  // The newest: what is tried again is counted from it.
  const failed = ours.findLast((item) => failedEarly(context, item, monitorMs)) ?? hung;
  const current = outcome.survivors.find(({ task }) => !context.isStale(task));
  const old = [...outcome.survivors, ...(outcome.finished === undefined ? [] : [outcome.finished])];
  const upAt = isUp(current?.status) ? (current?.status?.startedAtMs ?? current?.status?.atMs) : undefined;
  const failedAt = failed === hung ? hung && deadlineOf(context, hung) : failed?.status?.atMs;
  const endedAt = failedAt ?? (outcome.finished === undefined ? undefined : 0);
  const reference = endedAt ?? upAt;
  return {
    outcome,
    outdated: current === undefined ? old.find(({ task }) => context.isStale(task)) : undefined,
    touched: ours.length > 0,
    failed,
    deadlineAt: hung === undefined && coming[0] !== undefined ? deadlineOf(context, coming[0]) : undefined,
    busyUntil: reference === undefined ? undefined : reference + nsToMs(config.delayNs),
    settledAt: endedAt ?? (upAt === undefined ? undefined : upAt + monitorMs),
  };
}

/** It shall run, and has not come so far: it waits for a node, its image, its health check. */
function isComing({ task, state }: SlotTask): boolean {
  return isWanted(task) && compareStates(state, 'running') < 0;
}

/** One that waits for the task before it to stop is given its time from then on. */
function deadlineOf({ spec }: ServiceContext, { task }: SlotTask): number {
  const since = Math.max(task.createdAtMs, task.desiredAtMs);
  return since + (spec.updateDeadlineMs ?? DEFAULT_UPDATE_DEADLINE_MS);
}

/**
 * It ended by itself before it ran, or within the monitoring time of that. A task that completes has not failed where that
 * is its purpose: where the policy would not run it again.
 */
function failedEarly({ spec }: ServiceContext, { state, status }: SlotTask, monitorMs: number): boolean {
  if (status === undefined || !endedByItself(state)) return false;
  if (state === 'complete' && spec.restart.condition !== 'any') return false;
  return status.startedAtMs === undefined || status.atMs - status.startedAtMs <= monitorMs;
}

function failureAction(
  context: ServiceContext,
  begun: UpdateStatus,
  config: UpdateConfig,
  all: readonly Progress[],
  outdatedCount: number,
): ServiceAction | undefined {
  const failed = all.filter((slot) => slot.failed !== undefined);
  const total = all.filter((slot) => slot.touched).length + outdatedCount;
  const culprit = failed[0]?.failed;
  if (culprit === undefined || config.failureAction === 'continue') return undefined;
  if (failed.length / total <= config.maxFailureRatio) return undefined;
  const hung = !isTerminal(culprit.state);
  const cause = hung
    ? `because task ${culprit.task.id} did not come up in time`
    : `due to failure or early termination of task ${culprit.task.id}`;
  const { previousRevision, id } = context.service;
  const rollingBack = begun.state === 'rollback-started';
  const canRollBack =
    previousRevision !== undefined && context.view.revisions.has(revisionKey(id, previousRevision));
  if (config.failureAction === 'rollback' && !rollingBack && canRollBack) {
    return { kind: 'rollback', toRevision: previousRevision, message: `update rolled back ${cause}` };
  }
  return setStatus({
    state: rollingBack ? 'rollback-paused' : 'paused',
    startedAtMs: begun.startedAtMs,
    pausedAtMs: context.now,
    message: `${rollingBack ? 'rollback' : 'update'} paused ${cause}`,
  });
}

/** Replaces as many outdated slots as there are free places. */
function advance(
  context: ServiceContext,
  config: UpdateConfig,
  all: readonly Progress[],
  outdated: readonly Progress[],
): UpdateDecision {
  const busy = new Set<string>();
  let wakeAt: number | undefined;
  for (const slot of all) {
    if (isEmpty(slot.outcome)) {
      const until = emptyUntil(slot.outcome, context.now);
      if (until > context.now) busy.add(slot.outcome.slot.key);
      wakeAt =
        until === Number.POSITIVE_INFINITY
          ? wakeAt
          : earlier(wakeAt, until > context.now ? until : undefined);
      continue;
    }
    if (!slot.touched || (slot.outdated !== undefined && slot.failed === undefined)) continue;
    if (slot.busyUntil !== undefined && slot.busyUntil <= context.now) continue;
    busy.add(slot.outcome.slot.key);
    wakeAt = earlier(earlier(wakeAt, slot.busyUntil), slot.deadlineAt);
  }
  let free = config.parallelism === 0 ? Number.POSITIVE_INFINITY : config.parallelism - busy.size;
  const slots = new Map<string, readonly SlotAction[]>();
  for (const slot of [...outdated].sort(leastLossFirst)) {
    if (free <= 0) break;
    const retryAt = retryTime(context, slot);
    if (retryAt > context.now) {
      wakeAt = earlier(wakeAt, retryAt);
      continue;
    }
    slots.set(slot.outcome.slot.key, replaceActions(context, config, slot));
    busy.add(slot.outcome.slot.key);
    free -= 1;
  }
  return { service: [], slots, wakeAt, active: true, busy };
}

/** Its task has stopped and the next could not be created yet (the old one's host port, say). */
function isEmpty({ survivors, finished }: SlotOutcome): boolean {
  return survivors.length === 0 && finished === undefined;
}

/** How long an empty slot takes one of the update's places: until its task has stopped and the next had its chance. */
function emptyUntil({ slot }: SlotOutcome, now: number): number {
  let until = now;
  for (const item of slot.tasks) {
    if (isStopping(item)) return Number.POSITIVE_INFINITY;
    if (isTerminal(item.state)) until = Math.max(until, (item.status?.atMs ?? 0) + REFILL_MS);
  }
  return until;
}

/** Slots that serve nobody are replaced first, then those that have to leave their node. */
function leastLossFirst(a: Progress, b: Progress): number {
  return lossOf(a) - lossOf(b) || a.outcome.slot.slot - b.outcome.slot.slot;
}

function lossOf({ outdated }: Progress): number {
  if (!isUp(outdated?.status)) return 0;
  return outdated?.node?.spec.availability === 'drain' ? 1 : 2;
}

/** In a slot where the update has failed (start-first leaves the old task there), the restart delay holds too. */
function retryTime(context: ServiceContext, { failed }: Progress): number {
  return failed === undefined ? 0 : (failed.status?.atMs ?? 0) + retryAfter(context, failed).delayMs;
}

function replaceActions(context: ServiceContext, config: UpdateConfig, progress: Progress): SlotAction[] {
  const { slot, survivors, finished } = progress.outcome;
  const old = progress.outdated;
  if (old === undefined) return [];
  const failures = progress.failed === undefined ? 0 : retryAfter(context, progress.failed).failures;
  const next = replacementFor(context, slot, old, { delayMs: 0, failures }, 'the service was updated');
  if (config.order === 'start-first' && old !== finished && isUp(old.status)) {
    return next.kind === 'create-task' ? [{ ...next, desired: 'running' }] : [];
  }
  const leaving = [...survivors, ...(finished === undefined ? [] : [finished])];
  return [...leaving.map((item) => shutdown(item, 'the service was updated')), next];
}

/** All slots are current: completed once each has run for the monitoring time. */
function settle(context: ServiceContext, begun: UpdateStatus, all: readonly Progress[]): UpdateDecision {
  const ours = all.filter((slot) => slot.touched);
  if (ours.some((slot) => slot.settledAt === undefined)) {
    const deadlines = ours.map((slot) => slot.deadlineAt);
    return { ...NO_UPDATE, wakeAt: deadlines.reduce(earlier, undefined), active: true };
  }
  const settledAt = Math.max(0, ...ours.map((slot) => slot.settledAt ?? 0));
  if (settledAt > context.now) return { ...NO_UPDATE, wakeAt: settledAt, active: true };
  const rollingBack = begun.state === 'rollback-started';
  return {
    ...NO_UPDATE,
    service: [
      setStatus({
        state: rollingBack ? 'rollback-completed' : 'completed',
        startedAtMs: begun.startedAtMs,
        completedAtMs: context.now,
        message: rollingBack ? 'rollback completed' : 'update completed',
      }),
    ],
  };
}
