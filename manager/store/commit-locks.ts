/**
 * Which commits may be on their way at the same time, or in one transaction. Two that touch the same key may not,
 * unless both only compare it: in one transaction each would be judged by the state before the other, and in two the
 * later could overtake the earlier.
 */
import type { Prepared } from './transaction.ts';

export class CommitLocks {
  readonly #written = new Set<string>();
  /** How many hold a key for comparing. */
  readonly #guarded = new Map<string, number>();

  conflicts(commit: Prepared): boolean {
    return (
      commit.written.some((key) => this.#written.has(key) || this.#guarded.has(key)) ||
      commit.guarded.some((key) => this.#written.has(key))
    );
  }

  /** Only for a commit that does not conflict. */
  hold(commit: Prepared): void {
    for (const key of commit.written) this.#written.add(key);
    for (const key of commit.guarded) this.#guarded.set(key, (this.#guarded.get(key) ?? 0) + 1);
  }

  release(commit: Prepared): void {
    for (const key of commit.written) this.#written.delete(key);
    for (const key of commit.guarded) {
      const holders = (this.#guarded.get(key) ?? 0) - 1;
      if (holders > 0) this.#guarded.set(key, holders);
      else this.#guarded.delete(key);
    }
  }
}

export interface GroupLimits {
  readonly operations: number;
  readonly bytes: number;
}

/**
 * The commits to send next as one transaction, by their position in the queue: as many as fit, in order. One that
 * conflicts stays behind, and so does whatever conflicts with it, so that commits of one key keep their order.
 */
export function chooseGroup(
  queue: readonly Prepared[],
  busy: CommitLocks,
  limits: GroupLimits,
): readonly number[] {
  const chosen: number[] = [];
  const passed = new CommitLocks();
  const taken = new CommitLocks();
  let operations = 0;
  let compares = 0;
  let bytes = 0;
  for (const [position, commit] of queue.entries()) {
    if (busy.conflicts(commit) || taken.conflicts(commit) || passed.conflicts(commit)) {
      passed.hold(commit);
      continue;
    }
    // +1: each may bring a fence to compare.
    const fits =
      operations + commit.operations.length <= limits.operations &&
      compares + commit.compares.length + 1 <= limits.operations &&
      bytes + commit.bytes <= limits.bytes;
    if (!fits && chosen.length > 0) break;
    taken.hold(commit);
    chosen.push(position);
    operations += commit.operations.length;
    compares += commit.compares.length + 1;
    bytes += commit.bytes;
    if (!fits) break;
  }
  return chosen;
}
