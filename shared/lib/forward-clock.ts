import type { Clock, Millis } from './clock.ts';

/** How fast time goes while it is ahead of the machine's clock. */
const CATCH_UP = 0.9;

/**
 * Time of day that never goes back. What waits for a time (a restart's delay, an update's monitoring time) would wait for
 * hours when the machine's clock is set back by hours. Here time goes on from where it was, a little slower, until the
 * machine's clock has caught up. Ahead it is set at once.
 */
export class ForwardClock implements Clock {
  readonly #wallMs: () => Millis;
  readonly #steadyMs: () => number;
  #lastMs = Number.NEGATIVE_INFINITY;
  #lastSteadyMs: number;

  constructor(wallMs: () => Millis, steadyMs: () => number) {
    this.#wallMs = wallMs;
    this.#steadyMs = steadyMs;
    this.#lastSteadyMs = steadyMs();
  }

  now(): Millis {
    const steadyMs = this.#steadyMs();
    const floorMs = this.#lastMs + (steadyMs - this.#lastSteadyMs) * CATCH_UP;
    this.#lastMs = Math.max(this.#wallMs(), floorMs);
    this.#lastSteadyMs = steadyMs;
    return Math.floor(this.#lastMs);
  }

  /** It has been that late already, as a record says. How far the machine's clock is behind it; 0: it is not. */
  atLeast(ms: Millis): number {
    const behindMs = ms - this.now();
    if (behindMs <= 0) return 0;
    this.#lastMs = ms;
    return behindMs;
  }
}
