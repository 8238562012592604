/** Takes what nodes report of their tasks into the store: only of their own tasks, and never backwards. */
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { KeyedMutex } from '../../shared/lib/mutex.ts';
import { compareStates, type Logger, type Task, type TaskStatus } from '../../shared/model/index.ts';
import { sameData } from '../../shared/wire/assignment-diff.ts';
import { StaleError, type Store } from '../store/store.ts';

/** States that only a manager may give a task (invariant 1), or that are only ever desired. */
const NOT_REPORTABLE: ReadonlySet<string> = new Set(['new', 'pending', 'orphaned', 'remove']);

export type Verdict = 'write' | 'ignore' | 'refuse';

/**
 * What to do with a report, given what is known. Unknown tasks are ignored (the node forgets them on acknowledgement);
 * a task of another node is refused; so is a state that no node may report. Pure.
 */
export function judgeReport(
  nodeId: string,
  report: TaskStatus,
  task: Task | undefined,
  known: TaskStatus | undefined,
): Verdict {
  if (task === undefined) return 'ignore';
  if (task.nodeId !== nodeId || NOT_REPORTABLE.has(report.state)) return 'refuse';
  if (known === undefined) return 'write';
  if (compareStates(report.state, known.state) < 0) return 'ignore';
  // Said again after a reconnect: the time of saying is no news.
  return sameData({ ...report, atMs: 0 }, { ...known, atMs: 0 }) ? 'ignore' : 'write';
}

/**
 * The report with its times by this manager's clock: the node's may be hours off, and whoever reads the record compares it
 * with a manager's. Kept are how long the task ran, which is the node's to know, and when it began to, as noted first (a node
 * that lost the container, its machine was restarted, say, does not know any more). Pure.
 */
export function inOwnTime(report: TaskStatus, known: TaskStatus | undefined, nowMs: number): TaskStatus {
  const { atMs, startedAtMs } = report;
  const ranMs = startedAtMs === undefined ? undefined : Math.max(0, atMs - startedAtMs);
  const beganMs = known?.startedAtMs ?? (ranMs === undefined ? undefined : nowMs - ranMs);
  if (beganMs === undefined) return { ...report, atMs: nowMs };
  // It may be told late: after a partition.
  const saidMs = ranMs === undefined ? nowMs : Math.min(nowMs, beganMs + ranMs);
  return { ...report, atMs: saidMs, startedAtMs: beganMs };
}

export class StatusIntake {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #now: () => number;
  /** How many reports came, by what was done with them. */
  readonly counts: Record<Verdict, number> = { write: 0, ignore: 0, refuse: 0 };
  /** Reports on one task are taken one after the other. */
  readonly #tasks = new KeyedMutex();

  constructor(store: Store, logger: Logger, now: () => number = Date.now) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
  }

  /**
   * Resolves once every report is in the store or was dropped. The store groups the writes of all nodes that come within
   * a moment. Tries on while the store can not be reached; rejects only when the signal aborts.
   */
  async take(nodeId: string, reports: readonly TaskStatus[], signal: AbortSignal): Promise<void> {
    await Promise.all(
      reports.map((report) => this.#tasks.run(report.taskId, () => this.#takeOne(nodeId, report, signal))),
    );
  }

  async #takeOne(nodeId: string, report: TaskStatus, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await this.#tryOne(nodeId, report, signal);
      } catch (error) {
        if (isAbort(error) || signal.aborted) throw error;
        if (!(error instanceof StaleError) && !(error instanceof UnavailableError)) {
          this.#logger.error({ taskId: report.taskId, error: describeError(error) }, 'status not written');
        }
        // Stale: the mirror is about to show what we did not know.
        await delay(backoffMs(attempt, error instanceof StaleError ? 5 : 100, 2000, Math.random()), signal);
      }
    }
  }

  async #tryOne(nodeId: string, report: TaskStatus, signal: AbortSignal): Promise<void> {
    const { taskId } = report;
    const task = this.#store.get('tasks', taskId);
    const known = this.#store.get('statuses', taskId);
    const value = inOwnTime(report, known, this.#now());
    const verdict = judgeReport(nodeId, value, task, known);
    this.counts[verdict] += 1;
    if (verdict === 'refuse') {
      this.#logger.warn(
        { nodeId, taskId, state: report.state },
        'refused a report that is not the node’s to make',
      );
    }
    if (verdict !== 'write') return;
    const expect = this.#store.version('statuses', taskId);
    await this.#store.commit([{ table: 'statuses', key: taskId, value, expect }], {
      // Without its task a status would stay for ever.
      guards: [{ table: 'tasks', key: taskId, expect: this.#store.version('tasks', taskId) }],
      signal,
    });
  }
}
