/**
 * The times in a node's reports, on the manager's clock. Decisions compare them with the manager's time (monitoring times,
 * restart windows), so a node whose clock is off must neither hold them up nor hurry them. Pure.
 */
import { durationText } from '../../shared/lib/duration-text.ts';
import type { Task, TaskStatus } from '../../shared/model/index.ts';

/** A clock that is off by less is not worth a word. */
const TOLERATED_MS = 5_000;

/** How far a node's clock is behind this manager's, the way of the frame included: to be added to what the node says. */
export function clockOffsetMs(sentAtMs: number | undefined, receivedAtMs: number): number {
  return sentAtMs === undefined ? 0 : receivedAtMs - sentAtMs;
}

/** What people are told of a node whose clock is off; undefined when it is right, or nearly so. */
export function clockWarning(offsetMs: number): string | undefined {
  if (Math.abs(offsetMs) < TOLERATED_MS) return undefined;
  const side = offsetMs > 0 ? 'behind' : 'ahead of';
  return `its clock is ${durationText(offsetMs)} ${side} the manager's`;
}

export function shifted(report: TaskStatus, offsetMs: number): TaskStatus {
  const { atMs, startedAtMs } = report;
  return {
    ...report,
    atMs: atMs + offsetMs,
    ...(startedAtMs === undefined ? {} : { startedAtMs: startedAtMs + offsetMs }),
  };
}

/**
 * The report with times that can be: not before the task was made or was last heard of, and not in the future. When a
 * task began to run is said once: a node that has lost the container does not know any more, and one whose clock was set
 * meanwhile would say another time. A start outside of the task's life is one by a clock that was set since.
 */
export function withinLife(
  report: TaskStatus,
  task: Task | undefined,
  known: TaskStatus | undefined,
  nowMs: number,
): TaskStatus {
  const firstMs = Math.max(task?.createdAtMs ?? 0, known?.atMs ?? 0);
  const atMs = Math.max(firstMs, Math.min(report.atMs, nowMs));
  const said = report.startedAtMs;
  const inLife = said !== undefined && said >= (task?.createdAtMs ?? 0) && said <= atMs;
  const startedAtMs = known?.startedAtMs ?? (said === undefined || inLife ? said : atMs);
  return { ...report, atMs, ...(startedAtMs === undefined ? {} : { startedAtMs }) };
}
