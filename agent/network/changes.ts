/** Those who wait for something to change. */
import { delay } from '../../shared/lib/abort.ts';

const LONGEST_MS = 60_000;

export class Changes {
  readonly #waiting = new Set<() => void>();

  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves with the next change, when the signal aborts, or after a minute. */
  async next(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    this.#waiting.add(wake);
    await delay(LONGEST_MS, AbortSignal.any([signal, woken.signal])).catch(() => undefined);
    this.#waiting.delete(wake);
  }
}
