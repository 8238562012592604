/** Takes what nodes report of their tasks into the store: only of their own tasks, and never backwards. */
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { type Clock, systemClock } from '../../shared/lib/clock.ts';
import { KeyedMutex } from '../../shared/lib/mutex.ts';
import { compareStates, type Logger, type Task, type TaskStatus } from '../../shared/model/index.ts';
import { sameData } from '../../shared/wire/assignment-diff.ts';
import { type Guard, StaleError, type Store, type Write } from '../store/store.ts';
import { withinLife } from './report-times.ts';

/** States that only a manager may give a task (invariant 1), or that are only ever desired. */
const NOT_REPORTABLE: ReadonlySet<string> = new Set(['new', 'pending', 'orphaned', 'remove']);

/** Two comparisons each: what every etcd takes in one transaction. */
const MAX_TOGETHER = 60;

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

interface Judged {
  /** The report, completed. */
  readonly value: TaskStatus;
  readonly verdict: Verdict;
}

export class StatusIntake {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** How many reports came, by what was done with them. */
  readonly counts: Record<Verdict, number> = { write: 0, ignore: 0, refuse: 0 };
  /** Reports on one task are taken one after the other. */
  readonly #tasks = new KeyedMutex();

  constructor(store: Store, logger: Logger, clock: Clock = systemClock) {
    this.#store = store;
    this.#logger = logger;
    this.#clock = clock;
  }

  /**
   * The reports' times are on this manager's clock. Resolves once every report is in the store or was dropped. Those of a
   * frame are written together, and the store groups the writes of all nodes that come within a moment. Tries on while the
   * store can not be reached; rejects only when the signal aborts.
   */
  async take(nodeId: string, reports: readonly TaskStatus[], signal: AbortSignal): Promise<void> {
    const parts: Promise<void>[] = [];
    for (let at = 0; at < reports.length; at += MAX_TOGETHER)
      parts.push(this.#takeTogether(nodeId, reports.slice(at, at + MAX_TOGETHER), signal));
    await Promise.all(parts);
  }

  async #takeTogether(nodeId: string, reports: readonly TaskStatus[], signal: AbortSignal): Promise<void> {
    const distinct = new Set(reports.map(({ taskId }) => taskId)).size === reports.length;
    try {
      if (distinct && reports.length > 1) return await this.#tryAll(nodeId, reports, signal);
    } catch (error) {
      if (isAbort(error) || signal.aborted) throw error;
      // Which one it was shows when each is tried by itself.
    }
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
    const judged = this.#judge(nodeId, report);
    this.#count(nodeId, judged);
    if (judged.verdict === 'write') await this.#write([judged.value], signal);
  }

  async #tryAll(nodeId: string, reports: readonly TaskStatus[], signal: AbortSignal): Promise<void> {
    const judged = reports.map((report) => this.#judge(nodeId, report));
    const values = judged.flatMap(({ verdict, value }) => (verdict === 'write' ? value : []));
    if (values.length > 0) await this.#write(values, signal);
    for (const one of judged) this.#count(nodeId, one);
  }

  #judge(nodeId: string, report: TaskStatus): Judged {
    const task = this.#store.get('tasks', report.taskId);
    const known = this.#store.get('statuses', report.taskId);
    const value = withinLife(report, task, known, this.#clock.now());
    return { value, verdict: judgeReport(nodeId, value, task, known) };
  }

  #count(nodeId: string, { verdict, value: { taskId, state } }: Judged): void {
    this.counts[verdict] += 1;
    if (verdict !== 'refuse') return;
    this.#logger.warn({ nodeId, taskId, state }, 'refused a report that is not the node’s to make');
  }

  async #write(values: readonly TaskStatus[], signal: AbortSignal): Promise<void> {
    const store = this.#store;
    const writes = values.map((value): Write => {
      const key = value.taskId;
      return { table: 'statuses', key, value, expect: store.version('statuses', key) };
    });
    // Without its task a status would stay for ever.
    const guards = values.map(
      ({ taskId }): Guard => ({
        table: 'tasks',
        key: taskId,
        expect: store.version('tasks', taskId),
      }),
    );
    await store.commit(writes, { guards, signal });
  }
}
