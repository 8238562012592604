/**
 * PURE. How long a node may be silent before it is down, how often it beats for that, and how often the manager looks. A small
 * cluster has what is set. What one manager can read is bounded: from some thousand nodes on, they beat less often, and may be
 * silent for longer.
 */
export interface Pace {
  readonly downAfterMs: number;
  readonly beatMs: number;
  readonly tickMs: number;
}

/** Swarm's factor, too: two heartbeats in a row may be lost. */
const BEATS = 3;
/** That many take a manager about a fifth of a core to read. */
const MOST_BEATS_A_SECOND = 6_000;
/** The silence grows in steps: each change is told to every node. */
const STEP = 1.1;
/** It falls again when it would also do for so many more. */
const MARGIN = 1.25;
/** Nodes come and go in crowds: who looks more often than that tells them anew at each step. */
const LOOK_MS = 10_000;

/** `setMs`: what the cluster's setting says. `sessions`: nodes that this manager listens to. */
export function paceFor(setMs: number, sessions: number): Pace {
  const neededMs = (BEATS * sessions * 1_000) / MOST_BEATS_A_SECOND;
  const steps = Math.max(0, Math.ceil(Math.log(neededMs / setMs) / Math.log(STEP)));
  const downAfterMs = Math.round(setMs * STEP ** steps);
  return {
    downAfterMs,
    beatMs: Math.max(10, Math.floor(downAfterMs / BEATS)),
    tickMs: Math.max(5, Math.floor(downAfterMs / 8)),
  };
}

/** The pace that holds, and when there is another one. */
export class Pacing {
  #setMs: number;
  #pace: Pace;
  #lookedAtMs: number;

  constructor(setMs: number, nowMs: number) {
    this.#setMs = setMs;
    this.#pace = paceFor(setMs, 0);
    this.#lookedAtMs = nowMs;
  }

  get pace(): Pace {
    return this.#pace;
  }

  /** The setting holds at once. True when the pace is another one now. */
  set(setMs: number, sessions: number): boolean {
    if (setMs === this.#setMs) return false;
    this.#setMs = setMs;
    return this.#adopt(paceFor(setMs, sessions));
  }

  /** To be called now and then. True when the pace is another one now; nodes that leave change it only when they are many. */
  look(sessions: number, nowMs: number): boolean {
    if (nowMs - this.#lookedAtMs < LOOK_MS) return false;
    this.#lookedAtMs = nowMs;
    const [least, most] = [
      paceFor(this.#setMs, sessions),
      paceFor(this.#setMs, Math.ceil(sessions * MARGIN)),
    ];
    const { downAfterMs } = this.#pace;
    if (downAfterMs < least.downAfterMs) return this.#adopt(least);
    return downAfterMs > most.downAfterMs && this.#adopt(most);
  }

  #adopt(pace: Pace): boolean {
    if (pace.downAfterMs === this.#pace.downAfterMs) return false;
    this.#pace = pace;
    return true;
  }
}
