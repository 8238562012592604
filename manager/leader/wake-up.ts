/** Lets one loop sleep until it is woken or its time has come. A wake-up while nobody sleeps is remembered. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export class WakeUp {
  #pending = false;
  #wake: (() => void) | undefined;

  now(): void {
    this.#pending = true;
    this.#wake?.();
  }

  /** Resolves when woken, or after `ms` (undefined: never). Rejects with the signal's reason when it aborts. */
  async wait(ms: number | undefined, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#pending) await this.#sleep(ms, signal);
    this.#pending = false;
    signal.throwIfAborted();
  }

  #sleep(ms: number | undefined, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        this.#wake = undefined;
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(end, Math.min(ms, MAX_TIMEOUT_MS));
      this.#wake = end;
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
