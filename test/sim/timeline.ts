/**
 * Simulated time, and a kernel's view of who runs in it. Events come in order of their time, and of their making among
 * equals. Each belongs to a process: a stalled one gets its events when it goes on, a dead one never.
 */
import { setImmediate as realTurn } from 'node:timers/promises';

/** Held before anything is faked: lets all promises that can settle do so. */
const drain = realTurn;

/** A process of the simulated cluster: a manager, an agent. Time of day is its machine's, a steady clock everybody's. */
export class SimProcess {
  readonly name: string;
  readonly skewMs: number;
  alive = true;
  /** Its event loop is blocked until then. */
  stalledUntilMs = 0;

  constructor(name: string, skewMs = 0) {
    this.name = name;
    this.skewMs = skewMs;
  }

  /** Until a moment between two milliseconds, so that nothing arrives just then and overtakes what has waited. */
  stall(untilMs: number): void {
    this.stalledUntilMs = Math.max(this.stalledUntilMs, Math.floor(untilMs) + 0.5);
  }
}

export interface SimEvent {
  at: number;
  order: number;
  run: () => void;
  readonly owner: SimProcess | undefined;
  readonly kind: 'timer' | 'io';
  cancelled: boolean;
}

/** After a stall the timers that are due come first, then what arrived: so does Node's event loop. */
const IO_AFTER_STALL = 1e12;

/** Events of one moment: more are a loop that waits for nothing. */
const MAX_AT_ONCE = 20_000;

export class Timeline {
  now = 1_000_000_000;
  /** Whose event is being run, with all that its promises do. Undefined: the world itself. */
  current: SimProcess | undefined;
  events = 0;
  /** Ends the simulation: an invariant that broke while something else was in the middle of its work. */
  failure: Error | undefined;
  #made = 0;
  #atOnce = 0;
  readonly #heap: SimEvent[] = [];

  /** Runs it after `ms`, as an event of the process that runs now unless another is named. */
  in(
    ms: number,
    run: () => void,
    owner: SimProcess | undefined = this.current,
    kind: SimEvent['kind'] = 'io',
  ): SimEvent {
    this.#made += 1;
    const event: SimEvent = {
      at: this.now + Math.max(0, ms),
      order: this.#made,
      run,
      owner,
      kind,
      cancelled: false,
    };
    this.#push(event);
    return event;
  }

  /** Runs a process's main function as an event of it. That it rejects is a failure of the simulation. */
  start(owner: SimProcess, main: () => Promise<void>, ms = 0): void {
    const failed = (error: unknown): void => {
      this.failure ??= error instanceof Error ? error : new Error(String(error));
    };
    this.in(ms, () => void main().catch(failed), owner);
  }

  /** An event of nobody: of the kernel, of the network, of a user. */
  world(ms: number, run: () => void): SimEvent {
    this.#made += 1;
    const event: SimEvent = {
      at: this.now + Math.max(0, ms),
      order: this.#made,
      run,
      owner: undefined,
      kind: 'io',
      cancelled: false,
    };
    this.#push(event);
    return event;
  }

  /** Runs all events of the next `ms` milliseconds, each with everything that follows from it in the same turn. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#pop();
      if (next.cancelled || next.owner?.alive === false) continue;
      if (next.at > this.now) this.#atOnce = 0;
      this.now = next.at;
      this.#atOnce += 1;
      if (this.#atOnce > MAX_AT_ONCE)
        throw new Error(`${next.owner?.name ?? 'the world'} turns in a circle, and no time passes`);
      if (next.owner !== undefined && next.owner.stalledUntilMs > this.now) this.#postpone(next, next.owner);
      else await this.#run(next);
      if (this.failure !== undefined) throw this.failure;
    }
    this.now = end;
  }

  /** Lets what is under way come to its end, without time passing. */
  async settle(): Promise<void> {
    this.#heap.length = 0;
    await drain();
    this.#heap.length = 0;
  }

  async #run(event: SimEvent): Promise<void> {
    this.events += 1;
    this.current = event.owner;
    event.run();
    // The world's own events await nothing.
    if (event.owner !== undefined) await drain();
    this.current = undefined;
  }

  #postpone(event: SimEvent, { stalledUntilMs }: SimProcess): void {
    event.at = stalledUntilMs;
    if (event.kind === 'io' && event.order < IO_AFTER_STALL) event.order += IO_AFTER_STALL;
    this.#push(event);
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    heap.push(event);
    let child = heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!this.#before(child, parent)) break;
      this.#swap(child, parent);
      child = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    this.#swap(0, heap.length - 1);
    heap.pop();
    let parent = 0;
    for (;;) {
      let least = parent;
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        if (child < heap.length && this.#before(child, least)) least = child;
      }
      if (least === parent) return;
      this.#swap(least, parent);
      parent = least;
    }
  }

  #before(a: number, b: number): boolean {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left === undefined || right === undefined) return false;
    return left.at - right.at < 0 || (left.at === right.at && left.order < right.order);
  }

  #swap(a: number, b: number): void {
    const [left, right] = [this.#heap[a], this.#heap[b]];
    if (left === undefined || right === undefined) return;
    this.#heap[a] = right;
    this.#heap[b] = left;
  }
}
