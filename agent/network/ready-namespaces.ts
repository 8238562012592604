/**
 * Network namespaces that are made before a container asks for one, when nothing is started: its start need not make one,
 * and its interfaces are put in while everything else of it is made. They are held by descriptors alone, so that they end
 * with the agent, however it ends. A node that starts nothing has none.
 */
import { closeSync } from 'node:fs';
import { IdleWork } from '../../shared/lib/idle-work.ts';
import { makeNamespace } from '../native/network.ts';

/** Those who start many at once make the rest themselves. */
const KEPT = 4;

export interface ReadyNamespace {
  /** Leads to it until `close`. */
  readonly path: string;
  /** Whoever is in it keeps it. */
  close(): void;
}

export class ReadyNamespaces {
  readonly #make: () => Promise<number>;
  readonly #ready: number[] = [];
  readonly #filling = new IdleWork(() => this.#fill());

  /** `make` answers the descriptor of a new one. */
  constructor(make: () => Promise<number> = makeNamespace) {
    this.#make = make;
  }

  /** Undefined: none is left. */
  take(): ReadyNamespace | undefined {
    const fd = this.#ready.shift();
    if (fd === undefined) {
      this.#filling.soon();
      return undefined;
    }
    this.#filling.begin();
    return {
      path: `/proc/${process.pid}/fd/${fd}`,
      close: () => {
        closeSync(fd);
        this.#filling.end();
      },
    };
  }

  /** Those that are not taken end. */
  close(): void {
    this.#filling.close();
    for (const fd of this.#ready.splice(0)) closeSync(fd);
  }

  /** When it can not, a start makes its own, and says what is wrong. */
  async #fill(): Promise<boolean> {
    if (this.#ready.length >= KEPT) return false;
    const fd = await this.#make();
    if (this.#filling.isClosed) closeSync(fd);
    else this.#ready.push(fd);
    return this.#ready.length < KEPT;
  }
}
