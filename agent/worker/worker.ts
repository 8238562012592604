/** Turns this node's assignments into one runner a task, and keeps the networks in step with them. */
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { AssignmentSet, TaskAssignment, TaskState, TaskStatus } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { loadAssignments, AssignmentFile } from './assignment-file.ts';
import { Runner, type StepExecutor } from './runner.ts';

/** The part of the network driver that the worker needs. */
export interface Networks {
  /** Resolves once the kernel is as the set wants it. */
  apply(set: AssignmentSet, signal: AbortSignal): Promise<void>;
}

export interface WorkerOptions {
  readonly executor: StepExecutor;
  readonly networks: Networks;
  readonly report: (status: TaskStatus) => void;
  /** Observed state of tasks that an earlier agent of this node left behind. */
  readonly adopted: ReadonlyMap<string, TaskState>;
  /** Where the newest assignments are kept for an agent that comes after this one. */
  readonly assignments: { readonly path: string; readonly inMemory: boolean };
  /** Gets the contents of secrets and configs before a task that uses them is begun. */
  readonly files: { take(set: AssignmentSet): void };
  readonly now: () => number;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class Worker {
  readonly #options: WorkerOptions;
  readonly #runners = new Map<string, Runner>();
  readonly #file: AssignmentFile;
  /** Tasks with a container that no assignment has named yet. */
  readonly #unclaimed: Set<string>;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#unclaimed = new Set(options.adopted.keys());
    const { path, inMemory } = options.assignments;
    this.#file = new AssignmentFile(path, inMemory, options.logger);
  }

  /**
   * Takes up what an earlier agent of this node was told last, so that nothing waits for a manager. One that was killed
   * before it could save the newest set left containers of tasks that the saved one does not know: then the kernel's
   * networks stay as they are until a manager has spoken, for they would be taken from those containers.
   */
  async resume(): Promise<void> {
    const { adopted, assignments, files, logger } = this.#options;
    const set = await loadAssignments(assignments.path, logger);
    if (set === undefined) return;
    files.take(set);
    const unknown = [...adopted.keys()].filter((taskId) => !set.tasks.has(taskId));
    logger.info({ tasks: set.tasks.size, unknown: unknown.length }, 'resuming from the last assignments');
    if (unknown.length === 0) return this.#follow(set, () => undefined);
    for (const task of set.tasks.values()) if (adopted.has(task.taskId)) this.#begin(task);
  }

  /**
   * The whole set as a manager sent it, after each change. `acknowledge` is called once the kernel's networks agree with
   * it. Containers that an earlier agent left and that no task owns any more are stopped and removed. With a set that begins
   * a session every task says again what it is: the manager may have been restored from a backup, and believe what was true then.
   */
  assign(set: AssignmentSet, acknowledge: () => void, beginsSession = false): void {
    this.#file.save(set);
    this.#options.files.take(set);
    if (beginsSession) for (const runner of this.#runners.values()) runner.repeat();
    this.#follow(set, acknowledge);
    for (const taskId of this.#unclaimed) {
      this.#unclaimed.delete(taskId);
      if (!this.#runners.has(taskId)) void this.#discard(taskId);
    }
  }

  #follow(set: AssignmentSet, acknowledge: () => void): void {
    void this.#network(set, acknowledge);
    for (const [taskId, runner] of this.#runners) {
      if (!set.tasks.has(taskId)) runner.forget();
    }
    for (const task of set.tasks.values()) {
      const runner = this.#runners.get(task.taskId);
      if (runner === undefined) this.#begin(task);
      else runner.update(task);
    }
  }

  /** Resolves when every runner has let go after the agent's signal aborted. */
  async close(): Promise<void> {
    await Promise.all([...this.#runners.values()].map((runner) => runner.done));
    await this.#file.close();
  }

  #begin(task: TaskAssignment): void {
    const { executor, report, now, logger, signal, adopted } = this.#options;
    // Started once, and no container of it is left: looking for its end finds that it is lost.
    const observed = adopted.get(task.taskId) ?? (task.started === true ? 'running' : 'assigned');
    this.#unclaimed.delete(task.taskId);
    const runner = new Runner(task, observed, { executor, report, now, logger, signal });
    this.#runners.set(task.taskId, runner);
    runner.done
      .then(() => this.#runners.delete(task.taskId))
      .catch((error: unknown) => logger.error({ taskId: task.taskId, err: error }, 'a runner ended badly'));
  }

  async #discard(taskId: string): Promise<void> {
    const { executor, logger, signal } = this.#options;
    logger.info({ taskId }, 'stopping a container that no task owns any more');
    try {
      await executor.stop(taskId, signal);
      await executor.remove(taskId);
    } catch (error) {
      if (!isAbort(error))
        logger.error({ taskId, reason: describeError(error) }, 'could not remove the container');
    }
  }

  async #network(set: AssignmentSet, acknowledge: () => void): Promise<void> {
    const { networks, logger, signal } = this.#options;
    try {
      await networks.apply(set, signal);
      acknowledge();
    } catch (error) {
      if (!isAbort(error))
        logger.error({ reason: describeError(error) }, 'the networks could not be brought in step');
    }
  }
}
