/** A look at something every so often, or at once when there is reason to; never two at a time. */
import { describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import type { Logger } from '../../shared/model/index.ts';

export class LookLoop {
  readonly #look: () => Promise<void>;
  readonly #everyMs: () => number;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  #again = false;
  #closed = false;

  /** Nothing happens before `soon`. */
  constructor(look: () => Promise<void>, everyMs: () => number, logger: Logger) {
    this.#look = look;
    this.#everyMs = everyMs;
    this.#logger = logger;
  }

  /** Looks now, or once more when a look is under way. */
  soon(): void {
    if (this.#closed) return;
    if (this.#looking) this.#again = true;
    else void this.#run();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    this.#looking = true;
    do {
      this.#again = false;
      await this.#look().catch((error: unknown) => {
        if (!isAbort(error))
          this.#logger.error({ error: describeError(error) }, 'certificates: a look failed');
      });
    } while (this.#again && !this.#closed);
    this.#looking = false;
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.#run(), this.#everyMs());
    this.#timer.unref();
  }
}
