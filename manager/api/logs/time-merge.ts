/**
 * Several streams, each in the order of time, as one in the order of time. Of each stream at most two records are held here, and
 * it is asked for its next only when one of them was taken: a slow consumer stops the sources.
 */
import { MinHeap } from '../../../shared/lib/min-heap.ts';

/** How long a stream that has nothing is waited for before records of others go first. */
export interface Patience {
  /** For its first record, which may have a long way. */
  readonly firstMs: number;
  /** For every other one, from when it was asked for: while the record before it waits for its turn. */
  readonly nextMs: number;
}

export interface Timed {
  /** Sorts as its time does; of several records that follow one another, that of the first. */
  readonly key: string;
}

interface Lane<T> {
  readonly iterator: AsyncIterator<T>;
  /** Of two records of the same time, that of the older lane goes first. */
  readonly order: number;
  head: T | undefined;
  next: T | undefined;
  ended: boolean;
  /** Until when it is waited for, of the record that is asked for. */
  deadline: number;
}

/** An element in two: what of it is not later than `key`, and the rest. Undefined when it need not be cut. */
type Cut<T> = (element: T, key: string) => readonly [T, T] | undefined;

export class TimeMerge<T extends Timed> {
  readonly #patience: Patience | undefined;
  readonly #cut: Cut<T>;
  /** All that have not ended, the one whose record the consumer has among them. */
  readonly #lanes = new Set<Lane<T>>();
  readonly #ready = new MinHeap<Lane<T>>(isBefore);
  /** Lanes without a record that are waited for; no deadline of theirs is before `#nextDeadline`. */
  readonly #waiting = new Set<Lane<T>>();
  #nextDeadline = Infinity;
  /** Lanes without a record that are not waited for. */
  #idle = 0;
  #added = 0;
  #sealed = false;
  #drained = false;
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
    const empty = { head: undefined, next: undefined, ended: false, deadline: Infinity };
    const lane: Lane<T> = { iterator, order: this.#added, ...empty };
    this.#lanes.add(lane);
    this.#ask(lane, this.#patience?.firstMs);
    this.#wait(lane);
  }

  /** No lane will be added any more: run() ends when the last one does. */
  seal(): void {
    this.#sealed = true;
    this.#wake();
  }

  /** Lanes are waited for once more, as patiently as before: run() ends when none has a record, though they go on. */
  drain(): void {
    this.#drained = true;
    this.#wake();
  }

  /** To be called once. Leaving the loop leaves all sources. */
  async *run(signal: AbortSignal): AsyncGenerator<T> {
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#failure !== undefined) throw this.#failure.error;
        this.#giveUpWaiting();
        if (this.#waiting.size === 0) {
          const lane = this.#ready.pop();
          if (lane?.head !== undefined) {
            const due = this.#due(lane, lane.head);
            yield due;
            this.#goOn(lane, due);
            continue;
          }
          if (this.#drained || (this.#sealed && this.#idle === 0)) return;
        }
        await this.#event(signal);
      }
    } finally {
      // A source that waits for its node ends only when its own signal says so: nobody waits for it here.
      for (const { iterator } of this.#lanes) iterator.return?.().catch(() => undefined);
    }
  }

  /** What of the lane's head may go now: what is later than the first of the next lane has to wait for that one. */
  #due(lane: Lane<T>, head: T): T {
    const next = this.#ready.least?.head;
    const cut = next === undefined ? undefined : this.#cut(head, next.key);
    if (cut !== undefined) lane.head = cut[1];
    return cut === undefined ? head : cut[0];
  }

  #goOn(lane: Lane<T>, taken: T): void {
    if (lane.head === taken) this.#advance(lane);
    else this.#ready.push(lane);
  }

  /** Its head was taken. */
  #advance(lane: Lane<T>): void {
    lane.head = lane.next;
    lane.next = undefined;
    if (lane.head === undefined) {
      if (!lane.ended) this.#wait(lane);
      return;
    }
    this.#ready.push(lane);
    if (!lane.ended) this.#ask(lane, this.#patience?.nextMs);
  }

  #wait(lane: Lane<T>): void {
    if (lane.deadline <= performance.now()) {
      this.#idle += 1;
      return;
    }
    this.#waiting.add(lane);
    this.#nextDeadline = Math.min(this.#nextDeadline, lane.deadline);
  }

  #ask(lane: Lane<T>, patienceMs = Infinity): void {
    lane.deadline = performance.now() + patienceMs;
    lane.iterator.next().then(
      ({ done, value }) => (done === true ? this.#end(lane) : this.#take(lane, value)),
      (error: unknown) => {
        this.#failure ??= { error };
        this.#end(lane);
      },
    );
  }

  #take(lane: Lane<T>, record: T): void {
    if (lane.head !== undefined) {
      lane.next = record;
      return;
    }
    this.#unwait(lane);
    lane.head = record;
    this.#ready.push(lane);
    this.#ask(lane, this.#patience?.nextMs);
    this.#wake();
  }

  #end(lane: Lane<T>): void {
    lane.ended = true;
    this.#lanes.delete(lane);
    if (lane.head === undefined) this.#unwait(lane);
    this.#wake();
  }

  #unwait(lane: Lane<T>): void {
    if (!this.#waiting.delete(lane)) this.#idle -= 1;
  }

  #giveUpWaiting(): void {
    const now = performance.now();
    if (this.#nextDeadline > now) return;
    this.#nextDeadline = Infinity;
    for (const lane of this.#waiting) {
      if (lane.deadline > now) this.#nextDeadline = Math.min(this.#nextDeadline, lane.deadline);
      else {
        this.#waiting.delete(lane);
        this.#idle += 1;
      }
    }
  }

  /** Until a lane has a record or ends, one has been waited for long enough, or the signal aborts. */
  async #event(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const ms = this.#waiting.size === 0 ? Infinity : this.#nextDeadline - performance.now();
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
}

function isBefore<T extends Timed>(a: Lane<T>, b: Lane<T>): boolean {
  const [left, right] = [a.head?.key ?? '', b.head?.key ?? ''];
  return left < right || (left === right && a.order < b.order);
}
