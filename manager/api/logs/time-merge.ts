/**
 * Several streams, each in the order of time, as one in the order of time. Of each stream at most one element is held here (a
 * record, or several that follow one another), and none is asked for its next before the consumer has taken its last: a slow
 * consumer stops the sources.
 */
import { MinHeap } from '../../../shared/lib/min-heap.ts';

/** How long a stream that has nothing is waited for before records of others go first. */
export interface Patience {
  /** For its first record, which may have a long way. */
  readonly firstMs: number;
  readonly nextMs: number;
}

export interface Timed {
  /** Sorts as its time does; of several, that of the first. */
  readonly key: string;
}

interface Lane<T> {
  readonly iterator: AsyncIterator<T>;
  /** Of two records of the same time, that of the older lane goes first. */
  readonly order: number;
  head: T | undefined;
}

/** An element in two: what of it is not later than `key`, and the rest. Undefined when it need not be cut. */
type Cut<T> = (element: T, key: string) => readonly [T, T] | undefined;

export class TimeMerge<T extends Timed> {
  readonly #patience: Patience | undefined;
  readonly #cut: Cut<T>;
  readonly #ready = new MinHeap<Lane<T>>(isBefore);
  /** Lanes that are waited for, and until when; each map is in the order of its deadlines. */
  readonly #fresh = new Map<Lane<T>, number>();
  readonly #busy = new Map<Lane<T>, number>();
  /** Lanes that have nothing and are not waited for. */
  readonly #idle = new Set<Lane<T>>();
  /** All that have not ended, the one whose record the consumer has among them. */
  readonly #lanes = new Set<Lane<T>>();
  #added = 0;
  #sealed = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  /** Without patience every lane is waited for until it has a record or ends. */
  constructor(patience: Patience | undefined, cut: Cut<T> = () => undefined) {
    this.#patience = patience;
    this.#cut = cut;
  }

  /** An error of the source is run()'s. */
  add(source: AsyncIterable<T>): void {
    const iterator = source[Symbol.asyncIterator]();
    this.#added += 1;
    const lane = { iterator, order: this.#added, head: undefined };
    this.#lanes.add(lane);
    this.#fetch(lane, this.#fresh, this.#patience?.firstMs);
  }

  /** No lane will be added any more: run() ends when the last one does. */
  seal(): void {
    this.#sealed = true;
    this.#wake();
  }

  /** To be called once. Leaving the loop leaves all sources. */
  async *run(signal: AbortSignal): AsyncGenerator<T> {
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#failure !== undefined) throw this.#failure.error;
        this.#giveUpWaiting();
        if (this.#fresh.size + this.#busy.size === 0) {
          const lane = this.#ready.pop();
          if (lane?.head !== undefined) {
            yield this.#due(lane, lane.head);
            this.#goOn(lane);
            continue;
          }
          if (this.#sealed && this.#idle.size === 0) return;
        }
        await this.#event(signal);
      }
    } finally {
      this.#leave();
    }
  }

  /** What of the lane's head may go now: what is later than the first of the next lane has to wait for that one. */
  #due(lane: Lane<T>, head: T): T {
    const next = this.#ready.least?.head;
    const cut = next === undefined ? undefined : this.#cut(head, next.key);
    lane.head = cut?.[1];
    return cut === undefined ? head : cut[0];
  }

  #goOn(lane: Lane<T>): void {
    if (lane.head !== undefined) this.#ready.push(lane);
    else this.#fetch(lane, this.#busy, this.#patience?.nextMs);
  }

  #fetch(lane: Lane<T>, waiting: Map<Lane<T>, number>, patienceMs = Infinity): void {
    waiting.set(lane, performance.now() + patienceMs);
    const settle = (): void => {
      waiting.delete(lane);
      this.#idle.delete(lane);
      this.#wake();
    };
    lane.iterator.next().then(
      ({ done, value }) => {
        if (done === true) this.#lanes.delete(lane);
        else {
          lane.head = value;
          this.#ready.push(lane);
        }
        settle();
      },
      (error: unknown) => {
        this.#lanes.delete(lane);
        this.#failure ??= { error };
        settle();
      },
    );
  }

  #giveUpWaiting(): void {
    if (this.#patience === undefined) return;
    const now = performance.now();
    for (const waiting of [this.#fresh, this.#busy]) {
      for (const [lane, deadline] of waiting) {
        if (deadline > now) break;
        waiting.delete(lane);
        this.#idle.add(lane);
      }
    }
  }

  /** Until a lane has a record or ends, one has been waited for long enough, or the signal aborts. */
  async #event(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const deadlines = [this.#fresh, this.#busy].map((waiting) => waiting.values().next().value ?? Infinity);
      const ms = Math.min(...deadlines) - performance.now();
      const timer = ms === Infinity ? undefined : setTimeout(() => settle(), Math.max(1, ms));
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', settle);
        this.#wake = () => undefined;
        resolve();
      };
      this.#wake = settle;
      signal.addEventListener('abort', settle, { once: true });
      if (signal.aborted) settle();
    });
  }

  #leave(): void {
    // A source that waits for its node ends only when its own signal says so: nobody waits for it here.
    for (const { iterator } of this.#lanes) iterator.return?.().catch(() => undefined);
  }
}

function isBefore<T extends Timed>(a: Lane<T>, b: Lane<T>): boolean {
  const [left, right] = [a.head?.key ?? '', b.head?.key ?? ''];
  return left < right || (left === right && a.order < b.order);
}
