/** One a task: executes the next step, reports, repeats. Decides nothing itself (see next-step.ts). */
import { isAbort, untilAborted } from '../../shared/lib/abort.ts';
import type { Logger } from '../../shared/model/options.ts';
import { describeError } from '../../shared/errors/index.ts';
import {
  isTerminal,
  type DesiredState,
  type TaskAssignment,
  type TaskState,
  type TaskStatus,
} from '../../shared/model/index.ts';
import { nextStep, type Intent } from './next-step.ts';

/** What a step found out: the new observation, without what the runner knows itself. */
export type Outcome = Omit<TaskStatus, 'taskId' | 'atMs'>;

/** Performs steps. Each resolves with the observation it leads to; `interrupt` aborts when the task is to stop. */
export interface StepExecutor {
  /** Leads to ready, or rejected with the reason. */
  prepare(task: TaskAssignment, interrupt: AbortSignal): Promise<Outcome>;
  /** Leads to running, failed or complete. `progress` reports on the way (starting, health). */
  start(task: TaskAssignment, progress: (outcome: Outcome) => void, interrupt: AbortSignal): Promise<Outcome>;
  /** Resolves when the container has ended (complete or failed). */
  watch(task: TaskAssignment, progress: (outcome: Outcome) => void, interrupt: AbortSignal): Promise<Outcome>;
  /** Leads to shutdown. Resolves however long the grace period is; never interrupted. */
  stop(taskId: string, signal: AbortSignal): Promise<Outcome>;
  /** Removes everything of the task from the node. */
  remove(taskId: string): Promise<void>;
}

export interface RunnerOptions {
  readonly executor: StepExecutor;
  readonly report: (status: TaskStatus) => void;
  readonly now: () => number;
  readonly logger: Logger;
  /** Aborts when the agent itself ends: the runner lets go, the container goes on. */
  readonly signal: AbortSignal;
}

export class Runner {
  #task: TaskAssignment;
  #intent: Intent;
  #status: TaskStatus;
  #changed = new AbortController();
  #hasObserved = false;
  readonly #options: RunnerOptions;
  /** Resolves once the task is forgotten or the agent ends. */
  readonly done: Promise<void>;

  constructor(task: TaskAssignment, observed: TaskState, options: RunnerOptions) {
    this.#task = task;
    this.#intent = intentOf(task.desired);
    this.#options = options;
    this.#status = { taskId: task.taskId, state: observed, atMs: options.now(), message: observed };
    this.done = this.#run();
  }

  get status(): TaskStatus {
    return this.#status;
  }

  /** A newer assignment of the same task. */
  update(task: TaskAssignment): void {
    this.#task = task;
    this.#become(intentOf(task.desired));
  }

  /** The task has left this node's assignments: stop it if it runs, then remove it. */
  forget(): void {
    this.#become('forget');
  }

  /** Says again what was last observed; nothing before this runner has observed anything itself. */
  repeat(): void {
    if (this.#hasObserved) this.#options.report(this.#status);
  }

  #become(intent: Intent): void {
    if (intent === this.#intent || this.#intent === 'forget') return;
    this.#intent = intent;
    const changed = this.#changed;
    this.#changed = new AbortController();
    changed.abort();
  }

  async #run(): Promise<void> {
    const { signal, logger } = this.#options;
    while (!signal.aborted) {
      const step = nextStep(this.#status.state, this.#intent);
      try {
        if (step.kind === 'remove') {
          await this.#options.executor.remove(this.#task.taskId);
          return;
        }
        await this.#execute(step.kind === 'report' ? step : { kind: step.kind });
      } catch (error) {
        if (isAbort(error)) continue;
        const reason = describeError(error);
        logger.warn({ taskId: this.#task.taskId, step: step.kind, reason }, 'a step of the task failed');
        this.#observe({
          state: failureOf(this.#status.state),
          message: step.kind,
          error: reason,
        });
        if (step.kind === 'remove') return;
      }
    }
  }

  async #execute(
    step:
      | { kind: 'report'; state: TaskState; message: string }
      | { kind: 'prepare' | 'start' | 'watch' | 'stop' | 'wait' },
  ): Promise<void> {
    const { executor, signal } = this.#options;
    const interrupt = AbortSignal.any([this.#changed.signal, signal]);
    const progress = (outcome: Outcome): void => this.#observe(outcome);
    switch (step.kind) {
      case 'report':
        return this.#observe({ state: step.state, message: step.message });
      case 'prepare':
        return this.#observe(await executor.prepare(this.#task, interrupt));
      case 'start':
        return this.#observe(await executor.start(this.#task, progress, interrupt));
      case 'watch':
        return this.#observe(await executor.watch(this.#task, progress, interrupt));
      case 'stop':
        return this.#observe(await executor.stop(this.#task.taskId, signal));
      case 'wait':
        return untilAborted(interrupt);
    }
  }

  #observe(outcome: Outcome): void {
    if (isTerminal(this.#status.state)) return;
    this.#status = { taskId: this.#task.taskId, atMs: this.#options.now(), ...outcome };
    this.#hasObserved = true;
    this.#options.report(this.#status);
  }
}

function intentOf(desired: DesiredState): Intent {
  if (desired === 'ready') return 'ready';
  return desired === 'running' ? 'run' : 'stop';
}

/** A task that failed before its container could run was rejected by this node. */
function failureOf(state: TaskState): TaskState {
  return state === 'starting' || state === 'running' ? 'failed' : 'rejected';
}
