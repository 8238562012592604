/** Statuses on their way to a manager: kept until one has committed them, the furthest of each task wins. Pure. */
import { compareStates, type TaskStatus } from '../../shared/model/index.ts';

/** The most statuses in one frame. */
const MAX_BATCH = 500;

export interface StatusBatch {
  readonly id: number;
  readonly statuses: readonly TaskStatus[];
}

export class StatusQueue {
  readonly #pending = new Map<string, TaskStatus>();
  #inFlight: StatusBatch | undefined;
  #lastId = 0;

  add(status: TaskStatus): void {
    const known = this.#pending.get(status.taskId);
    if (known !== undefined && compareStates(status.state, known.state) < 0) return;
    this.#pending.set(status.taskId, status);
  }

  get size(): number {
    return this.#pending.size;
  }

  /** What to send now; undefined while a batch is under way or nothing waits. */
  next(): StatusBatch | undefined {
    if (this.#inFlight !== undefined || this.#pending.size === 0) return undefined;
    this.#lastId += 1;
    this.#inFlight = { id: this.#lastId, statuses: [...this.#pending.values()].slice(0, MAX_BATCH) };
    return this.#inFlight;
  }

  /** A manager has committed the batch. What was added on a task meanwhile stays. */
  acked(id: number): void {
    if (this.#inFlight?.id !== id) return;
    for (const status of this.#inFlight.statuses) {
      if (this.#pending.get(status.taskId) === status) this.#pending.delete(status.taskId);
    }
    this.#inFlight = undefined;
  }

  /** The session ended: what was under way is sent again in the next. */
  reset(): void {
    this.#inFlight = undefined;
  }
}
