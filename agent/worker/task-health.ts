/** The health check of one running container, across the steps that look at it. */
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Health, HealthCheck } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { OciProcess } from '../native/container.ts';
import type { HealthState } from '../container/health-state.ts';
import { watchHealth, type RunProbe } from '../container/health.ts';

export interface TaskHealthOptions {
  readonly check: HealthCheck;
  readonly process: OciProcess;
  /** What an earlier agent has found. */
  readonly first: HealthState;
  readonly run: RunProbe;
  /** Keeps what was found. */
  readonly save: (state: HealthState) => Promise<void>;
  readonly logger: Logger;
}

export class TaskHealth {
  readonly #options: TaskHealthOptions;
  #state: HealthState;
  #output: string;
  #saved: Promise<void> = Promise.resolve();
  readonly #stop = new AbortController();
  readonly #waiters = new Set<() => void>();

  constructor(options: TaskHealthOptions) {
    const { check, process, first, run, logger } = options;
    this.#options = options;
    this.#state = first;
    this.#output = lastOutput(first);
    watchHealth(check, process, first, run, this.#probed, this.#stop.signal).catch((error: unknown) => {
      if (!isAbort(error)) logger.warn({ err: error }, 'the health check ended');
    });
  }

  get health(): Health {
    return this.#state.health;
  }

  get state(): HealthState {
    return this.#state;
  }

  /** What the last probe that changed the health printed. */
  get output(): string {
    return this.#output;
  }

  /** Resolves at the next change; rejects when the signal aborts. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const finish = (settle: () => void) => (): void => {
        this.#waiters.delete(wake);
        signal.removeEventListener('abort', abort);
        settle();
      };
      const wake = finish(resolve);
      const abort = finish(() => reject(signal.reason as Error));
      this.#waiters.add(wake);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  /** Resolves when nothing is written any more. */
  close(): Promise<void> {
    this.#stop.abort();
    return this.#saved;
  }

  #probed = (state: HealthState): void => {
    const { save, logger } = this.#options;
    const before = this.#state;
    this.#state = state;
    this.#saved = this.#saved
      .then(() => save(state))
      .catch((error: unknown) => logger.warn({ reason: describeError(error) }, 'health was not written'));
    if (state.health === before.health) return;
    this.#output = lastOutput(state);
    for (const wake of this.#waiters) wake();
  };
}

function lastOutput({ log }: HealthState): string {
  return log.at(-1)?.output.trim() ?? '';
}
