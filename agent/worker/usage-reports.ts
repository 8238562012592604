/**
 * Measures what tasks use whose service is scaled by it, and reports on all of them at once. While there is none, no timer
 * runs. A task that has just been started is left alone for a while: how a program starts says little of its load.
 */
import { describeError } from '../../shared/errors/index.ts';
import type { AssignmentSet, Logger, TaskUsage } from '../../shared/model/index.ts';
import { USAGE_EVERY_MS } from '../../shared/model/index.ts';
import type { Usage } from '../container/usage.ts';

export interface UsageReportsOptions {
  /** Where the task's container keeps what it runs with; undefined when it does not run. */
  readonly runDirOf: (taskId: string) => string | undefined;
  /** Undefined when the container is gone. */
  readonly read: (runDir: string) => Promise<Usage | undefined>;
  readonly send: (tasks: readonly TaskUsage[]) => void;
  readonly steadyMs: () => number;
  readonly logger: Logger;
  /** Default USAGE_EVERY_MS. */
  readonly everyMs?: number;
}

/** What was read last of a task; without a usage: that it runs, no more. */
interface Reading {
  readonly atMs: number;
  readonly usage?: Usage;
}

export class UsageReports {
  readonly #options: UsageReportsOptions;
  #measured: readonly string[] = [];
  #readings = new Map<string, Reading>();
  #timer: NodeJS.Timeout | undefined;
  #measuring = false;

  constructor(options: UsageReportsOptions) {
    this.#options = options;
  }

  /** The newest assignments say what is to be measured. */
  take(set: AssignmentSet): void {
    const measured: string[] = [];
    for (const { taskId, measured: asked, desired } of set.tasks.values())
      if (asked === true && desired === 'running') measured.push(taskId);
    this.#measured = measured;
    if (measured.length === 0) this.close();
    else this.#timer ??= setInterval(() => void this.#turn(), this.#options.everyMs ?? USAGE_EVERY_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#readings.clear();
  }

  /** One round at a time, however slow the kernel is. */
  async #turn(): Promise<void> {
    if (this.#measuring) return;
    this.#measuring = true;
    try {
      const tasks = await this.measure();
      if (tasks.length > 0 && this.#timer !== undefined) this.#options.send(tasks);
    } catch (error) {
      this.#options.logger.warn({ reason: describeError(error) }, 'could not measure what tasks use');
    } finally {
      this.#measuring = false;
    }
  }

  /** Reads all that are measured, and returns what they used since they were read before. */
  async measure(): Promise<readonly TaskUsage[]> {
    const before = this.#readings;
    const readings = new Map<string, Reading>();
    const found = await Promise.all(
      this.#measured.map(async (taskId) => {
        const runDir = this.#options.runDirOf(taskId);
        if (runDir === undefined) return [];
        const last = before.get(taskId);
        const usage = last === undefined ? undefined : await this.#options.read(runDir);
        const atMs = this.#options.steadyMs();
        readings.set(taskId, { atMs, ...(usage === undefined ? {} : { usage }) });
        return usageBetween(taskId, last, usage, atMs);
      }),
    );
    this.#readings = readings;
    return found.flat();
  }
}

function usageBetween(
  taskId: string,
  last: Reading | undefined,
  usage: Usage | undefined,
  atMs: number,
): TaskUsage[] {
  if (last?.usage === undefined || usage === undefined || atMs <= last.atMs) return [];
  const cpuNs = Math.max(0, usage.cpuNs - last.usage.cpuNs);
  const nanoCpus = Math.round((cpuNs * 1000) / (atMs - last.atMs));
  return [{ taskId, nanoCpus, memoryBytes: Math.round(usage.memoryBytes) }];
}
