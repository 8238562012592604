/**
 * Says which nodes are down. A node is down when it was silent for longer than `downAfterMs`, or when its session closed
 * and none followed within that time. Time in which this manager itself stood still does not count: its own ticks tell.
 * Pure: times come in, verdicts go out. Times are of one steady clock, in milliseconds.
 */
export interface Verdict {
  readonly nodeId: string;
  readonly reason: 'silent' | 'disconnected' | 'never-heard';
}

interface Watched {
  /** On the detector's own time line, which leaves out the stalls. */
  readonly deadlineMs: number;
  readonly reason: Verdict['reason'];
}

/**
 * A node that an earlier run of the manager knew has this many times as long to come back; and one whose session ended soon
 * after a long stall: it may have given the manager up meanwhile, and be waiting before it tries again.
 */
const FIRST_CONTACT_FACTOR = 3;

/**
 * Of so many nodes that are waited for at once the manager may not get round to all within their time: each costs it a
 * handshake. As long as some of them still return, so may the others.
 */
const CROWD = 50;
/** In times of downAfterMs: at the latest then a node of a crowd is judged. */
const CROWD_FACTOR = 60;

export class FailureDetector {
  #downAfterMs: number;
  #tickMs: number;
  readonly #watched = new Map<string, Watched>();
  #lastTickMs: number;
  #stalledMs = 0;
  /** On the detector's own time line. */
  #longStallAtMs = Number.NEGATIVE_INFINITY;
  /** When a node that was waited for came, on the detector's own time line. */
  #returnedAtMs = Number.NEGATIVE_INFINITY;
  /** How many nodes without a session are waited for. */
  #absent = 0;
  /** They are a crowd, to the last of them, until none has returned for as long as one alone would have had. */
  #crowded = false;

  /** `tickMs`: how often tick() is meant to be called. */
  constructor(options: { downAfterMs: number; tickMs: number; nowMs: number }) {
    this.#downAfterMs = options.downAfterMs;
    this.#tickMs = options.tickMs;
    this.#lastTickMs = options.nowMs;
  }

  /** From now on. Who is heard meanwhile has the new time; deadlines that are set stay. */
  adjust(options: { downAfterMs: number; tickMs: number }): void {
    this.#downAfterMs = options.downAfterMs;
    this.#tickMs = options.tickMs;
  }

  /** A node that should come, but has not been heard since this manager started. */
  expect(nodeId: string, nowMs: number): void {
    this.#watch(nodeId, nowMs, this.#downAfterMs * FIRST_CONTACT_FACTOR, 'never-heard');
  }

  /** Something arrived from the node. */
  heard(nodeId: string, nowMs: number): void {
    if (isAbsent(this.#watched.get(nodeId))) this.#returnedAtMs = nowMs - this.#stalledMs;
    this.#watch(nodeId, nowMs, this.#downAfterMs, 'silent');
  }

  /** The node's session is over. */
  closed(nodeId: string, nowMs: number): void {
    const patienceMs = this.#downAfterMs * FIRST_CONTACT_FACTOR;
    const stalledLately = nowMs - this.#stalledMs - this.#longStallAtMs < patienceMs;
    this.#watch(nodeId, nowMs, stalledLately ? patienceMs : this.#downAfterMs, 'disconnected');
  }

  /** The node is not ours to judge any more (removed, or another manager has it). */
  forget(nodeId: string): void {
    if (isAbsent(this.#watched.get(nodeId))) this.#absent -= 1;
    this.#watched.delete(nodeId);
  }

  /** To be called every `tickMs`. A node is given once, until it is heard again. */
  tick(nowMs: number): readonly Verdict[] {
    const lateMs = nowMs - this.#lastTickMs - this.#tickMs;
    // A tick that is late by less than its own length is an ordinary timer's; more is a stall.
    if (lateMs > this.#tickMs) this.#stalledMs += lateMs;
    this.#lastTickMs = nowMs;
    const lived = nowMs - this.#stalledMs;
    if (lateMs > this.#downAfterMs) this.#longStallAtMs = lived;
    this.#crowded = (this.#crowded || this.#absent > CROWD) && lived - this.#returnedAtMs < this.#downAfterMs;
    const crowdMs = this.#crowded ? this.#downAfterMs * CROWD_FACTOR : 0;
    const down = [...this.#watched].filter(
      ([, watched]) => watched.deadlineMs + (isAbsent(watched) ? crowdMs : 0) < lived,
    );
    for (const [nodeId] of down) this.forget(nodeId);
    return down.map(([nodeId, { reason }]) => ({ nodeId, reason }));
  }

  #watch(nodeId: string, nowMs: number, forMs: number, reason: Verdict['reason']): void {
    const watched = { deadlineMs: nowMs - this.#stalledMs + forMs, reason };
    this.#absent += Number(isAbsent(watched)) - Number(isAbsent(this.#watched.get(nodeId)));
    this.#watched.set(nodeId, watched);
  }
}

/** True for a node that is waited for without a session. */
function isAbsent(watched: Watched | undefined): boolean {
  return watched !== undefined && watched.reason !== 'silent';
}
