/**
 * Network namespaces that are made before a container asks for one, when nothing is started: its start need not make one,
 * and its interfaces are put in while everything else of it is made. They are held by descriptors alone, so that they end
 * with the agent, however it ends. A node that starts nothing has none.
 */
import { closeSync } from 'node:fs';
import { makeNamespace } from '../native/network.ts';

/** Those who start many at once make the rest themselves. */
const KEPT = 4;
const REST_MS = 10;

export interface ReadyNamespace {
  /** Leads to it until `close`. */
  readonly path: string;
  /** Whoever is in it keeps it. */
  close(): void;
}

export class ReadyNamespaces {
  readonly #make: () => Promise<number>;
  readonly #ready: number[] = [];
  /** Taken, and not closed yet: starts that are under way. */
  #inUse = 0;
  #timer: NodeJS.Timeout | undefined;
  #making = false;
  #closed = false;

  /** `make` answers the descriptor of a new one. */
  constructor(make: () => Promise<number> = makeNamespace) {
    this.#make = make;
  }

  /** Undefined: none is left. */
  take(): ReadyNamespace | undefined {
    const fd = this.#ready.shift();
    if (fd === undefined) {
      this.#fillSoon();
      return undefined;
    }
    this.#inUse += 1;
    return {
      path: `/proc/${process.pid}/fd/${fd}`,
      close: () => {
        closeSync(fd);
        this.#inUse -= 1;
        this.#fillSoon();
      },
    };
  }

  /** Those that are not taken end. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const fd of this.#ready.splice(0)) closeSync(fd);
  }

  /** One at a time, with a rest before each, and none while anything is started. */
  #fillSoon(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#making || this.#inUse > 0 || this.#ready.length >= KEPT) return;
    this.#timer = setTimeout(() => void this.#fill(), REST_MS).unref();
  }

  async #fill(): Promise<void> {
    this.#making = true;
    try {
      const fd = await this.#make();
      if (this.#closed) closeSync(fd);
      else this.#ready.push(fd);
    } catch {
      // A start makes its own then, and says what is wrong.
      return;
    } finally {
      this.#making = false;
    }
    this.#fillSoon();
  }
}
