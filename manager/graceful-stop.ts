/** A manager that is asked to end finishes what it was asked before: only then everything else is told to end. */
export class GracefulStop {
  readonly #ending = new AbortController();
  #before: () => Promise<void> = () => Promise.resolve();

  constructor(asked: AbortSignal) {
    if (asked.aborted) this.#ending.abort(asked.reason);
    else asked.addEventListener('abort', () => void this.#end(asked.reason), { once: true });
  }

  /** Aborts when all is to end. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** What is done first, from now on. It must not take long. */
  first(work: () => Promise<void>): void {
    this.#before = work;
  }

  async #end(reason: unknown): Promise<void> {
    await this.#before().catch(() => undefined);
    this.#ending.abort(reason);
  }
}
