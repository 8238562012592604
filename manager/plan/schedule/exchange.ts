/**
 * What is changing hands on one node: tasks that were preempted hold it still, and tasks that were placed in their room
 * will. The latter start when all the former have ended, so at no time more is in use than the larger of the two sums.
 */
import type { Part } from './generic-ledger.ts';

export interface Amounts {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
}

const NOTHING: Amounts = { nanoCpus: 0, memoryBytes: 0 };

export class Exchange {
  #leaving = NOTHING;
  #coming = NOTHING;

  add(part: Exclude<Part, 'staying'>, amounts: Amounts): void {
    if (part === 'leaving') this.#leaving = sum(this.#leaving, amounts, 1);
    else this.#coming = sum(this.#coming, amounts, 1);
  }

  /** One that was to come, and has never started. */
  cancel(amounts: Amounts): void {
    this.#coming = sum(this.#coming, amounts, -1);
  }

  get most(): Amounts {
    return {
      nanoCpus: Math.max(this.#leaving.nanoCpus, this.#coming.nanoCpus),
      memoryBytes: Math.max(this.#leaving.memoryBytes, this.#coming.memoryBytes),
    };
  }

  get coming(): Amounts {
    return this.#coming;
  }
}

function sum(a: Amounts, b: Amounts, sign: 1 | -1): Amounts {
  return {
    nanoCpus: a.nanoCpus + sign * b.nanoCpus,
    memoryBytes: a.memoryBytes + sign * b.memoryBytes,
  };
}
