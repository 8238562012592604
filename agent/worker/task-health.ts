/** The health check of one running container, across the steps that look at it. */
import { isAbort } from '../../shared/lib/abort.ts';
import type { Health, HealthCheck } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { OciProcess } from '../native/container.ts';
import { watchHealth, type RunProbe } from '../container/health.ts';

export class TaskHealth {
  #health: Health = 'starting';
  #output = '';
  readonly #stop = new AbortController();
  readonly #waiters = new Set<() => void>();

  constructor(check: HealthCheck, process: OciProcess, startedAtMs: number, run: RunProbe, logger: Logger) {
    const changed = (health: Health, output: string): void => {
      this.#health = health;
      this.#output = output;
      for (const wake of this.#waiters) wake();
    };
    watchHealth(check, process, startedAtMs, run, changed, this.#stop.signal).catch((error: unknown) => {
      if (!isAbort(error)) logger.warn({ err: error }, 'the health check ended');
    });
  }

  get health(): Health {
    return this.#health;
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

  close(): void {
    this.#stop.abort();
  }
}
