/**
 * A task that moves: another is started in its slot, marked as a move, and the one before it is told to stop when the new
 * one can be relied on. Who is leaving follows from the records alone, so that any leader can take over in the middle.
 */
import type { ServiceSpec } from '../../../shared/model/index.ts';
import {
  compareStates,
  DEFAULT_UPDATE_DEADLINE_MS,
  drainOrderOf,
  isTerminal,
} from '../../../shared/model/index.ts';
import { endedByItself, isUp, isWanted, nsToMs, upSince } from '../states.ts';
import type { ServiceContext, Slot, SlotTask } from './context.ts';

/** After the first attempt that failed; each one that follows waits twice as long. */
const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 5 * 60_000;

/** It serves on a drained node, and does so until another has taken its place. */
export function isLeaving({ spec }: ServiceContext, { node, status }: SlotTask): boolean {
  return (
    spec.mode.kind === 'replicated' &&
    node?.spec.availability === 'drain' &&
    node.status !== 'down' &&
    isUp(status) &&
    drainOrderOf(spec) !== 'at-once'
  );
}

/** Of the tasks that a slot keeps, oldest first: those that only stay until another has taken their place. */
export function outgoingOf(context: ServiceContext, items: readonly SlotTask[]): Set<SlotTask> {
  const outgoing = new Set(items.filter((item) => context.isStale(item.task) || isLeaving(context, item)));
  const levels = items.findLastIndex((item) => item.task.move === 'rebalance' && !outgoing.has(item));
  for (const item of items.slice(0, Math.max(0, levels))) outgoing.add(item);
  return outgoing;
}

/** The task before it in its slot may be stopped. */
export function hasTakenOver(context: ServiceContext, item: SlotTask): boolean {
  const { task, state, status } = item;
  if (task.move === undefined) return isUp(status);
  // Stop-first: it is prepared, and runs when the other has stopped.
  if (task.desired === 'ready') return !isTerminal(state) && compareStates(state, 'ready') >= 0;
  return (provenAt(context, item) ?? Number.POSITIVE_INFINITY) <= context.now;
}

/** When it will have served for the monitoring time; undefined: it does not serve. */
export function provenAt({ spec }: ServiceContext, { status }: SlotTask): number | undefined {
  const since = upSince(status);
  return since === undefined ? undefined : since + nsToMs(spec.update.monitorNs);
}

/** It is a move, and the task before it has not been told to stop. */
export function isMoving(slot: Slot, { task }: SlotTask): boolean {
  return (
    task.move !== undefined &&
    slot.tasks
      .slice(0, positionOf(slot, task.id))
      .some((other) => isWanted(other.task) && !isTerminal(other.state))
  );
}

function positionOf(slot: Slot, taskId: string): number {
  return slot.tasks.findIndex(({ task }) => task.id === taskId);
}

/** A move that does not come up is given up after this. */
export function moveDeadlineMs({ updateDeadlineMs }: ServiceSpec): number {
  return updateDeadlineMs ?? DEFAULT_UPDATE_DEADLINE_MS;
}

/** What a move looks for next: to have proven itself, or to be given up. */
export function movesOnAt(context: ServiceContext, item: SlotTask): number | undefined {
  if (hasTakenOver(context, item)) return undefined;
  return provenAt(context, item) ?? item.task.createdAtMs + moveDeadlineMs(context.spec);
}

/** When each of the moves that were begun in a slot after `old` came to nothing. One that was called off is none. */
export function failedMoves(context: ServiceContext, slot: Slot, old: SlotTask): number[] {
  return slot.tasks.slice(positionOf(slot, old.task.id) + 1).flatMap(({ task, state }) => {
    if (task.move === undefined) return [];
    const endedAt = isWanted(task) ? context.now : task.desiredAtMs;
    const failed = endedByItself(state) || endedAt - task.createdAtMs >= moveDeadlineMs(context.spec);
    return failed ? [endedAt] : [];
  });
}

/** The slot without moves that ended before they could be relied on: attempts to move are no restarts of it. */
export function withoutAttempts({ spec }: ServiceContext, slot: Slot): Slot {
  const monitorMs = nsToMs(spec.update.monitorNs);
  const tasks = slot.tasks.filter(({ task, state, status }) => {
    if (task.move === undefined || !endedByItself(state)) return true;
    return status?.startedAtMs !== undefined && status.atMs - status.startedAtMs >= monitorMs;
  });
  return { ...slot, tasks };
}

/** After so many failures another attempt is made this much later; `firstMs` is the first step. */
export function moveBackoffMs(failures: number, firstMs: number): number {
  return Math.min(MAX_BACKOFF_MS, Math.max(MIN_BACKOFF_MS, firstMs) * 2 ** Math.max(0, failures - 1));
}
