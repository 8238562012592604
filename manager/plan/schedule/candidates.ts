/**
 * The nodes that one service can be placed on, in the order in which they should be: spread over the preferences' values,
 * near to other services, then fewest tasks of the service (packed: the fullest), then fewest tasks in all. Nodes are kept
 * in buckets by all but the last, so that this is exact, the fullest to a part in thirty-two; the last is the best of a
 * sample when a bucket is large.
 */
import type { Prng } from '../../../shared/lib/prng.ts';
import { attributeOf } from '../constraint.ts';
import { misfit } from './affinity.ts';
import type { ClusterColumns } from './columns.ts';
import type { Filter, Refusals, Request } from './filters.ts';
import { whyNot } from './filters.ts';

/** A bucket up to this size is looked through in full. */
const FULL_LOOK = 64;
const SAMPLE = 16;
/** Steps in which nodes are told apart by how full they are. */
const FULLNESS_LEVELS = 32;
/** That many are told apart where nearness to other services comes first. */
const RANKS = 1024;

export interface Choice {
  readonly request: Request;
  readonly columns: ClusterColumns;
  readonly random: Prng;
  /** Those of the changing filters that apply. */
  readonly filters: readonly Filter[];
  /** Nodes found unfit on the way are counted here. */
  readonly refusals: Refusals;
}

/** Nodes by level: the lowest are to be taken first. */
class Buckets {
  readonly #levels: number[][] = [];
  #lowest = 0;

  add(row: number, at: number): void {
    const level = this.#levels[at];
    if (level === undefined) this.#levels[at] = [row];
    else level.push(row);
    this.#lowest = Math.min(this.#lowest, at);
  }

  /** Removes and returns the best row, or undefined when none is left that fits. */
  take(choice: Choice): number | undefined {
    for (; this.#lowest < this.#levels.length; this.#lowest += 1) {
      const level = this.#levels[this.#lowest];
      const row = level === undefined ? undefined : takeBest(level, choice);
      if (row !== undefined) return row;
    }
    return undefined;
  }
}

function takeBest(level: number[], choice: Choice): number | undefined {
  while (level.length > 0) {
    const best = level.length <= FULL_LOOK ? bestOfAll(level, choice) : bestOfSample(level, choice);
    if (best >= 0) return removeAt(level, best);
  }
  return undefined;
}

function bestOfAll(level: number[], choice: Choice): number {
  let best = -1;
  for (let at = level.length - 1; at >= 0; at -= 1) best = consider(level, at, best, choice);
  return best;
}

function bestOfSample(level: number[], choice: Choice): number {
  let best = -1;
  for (let i = 0; i < SAMPLE && level.length > 0; i += 1) {
    best = consider(level, choice.random.below(level.length), best, choice);
  }
  return best;
}

/** The better of positions `at` and `best` (-1: none). A row that does not fit is removed from the level. */
function consider(level: number[], at: number, best: number, choice: Choice): number {
  const { request, columns, filters, refusals } = choice;
  const row = level[at] ?? 0;
  const reason = whyNot(filters, request, columns, row);
  if (reason !== undefined) {
    refusals.set(reason, (refusals.get(reason) ?? 0) + 1);
    const moved = level.length - 1;
    removeAt(level, at);
    return best === moved ? at : best;
  }
  if (best < 0) return at;
  return isBetter(row, level[best] ?? 0, choice) ? at : best;
}

function isBetter(row: number, than: number, { request, columns }: Choice): boolean {
  const soft = misfit(request.affinities, row) - misfit(request.affinities, than);
  if (soft !== 0) return soft < 0;
  columns.load(row);
  columns.load(than);
  if (request.spec.placement.strategy === 'binpack') {
    const room = columns.freeShare(row) - columns.freeShare(than);
    if (room !== 0) return room < 0;
    return (columns.active[row] ?? 0) > (columns.active[than] ?? 0);
  }
  return (columns.active[row] ?? 0) < (columns.active[than] ?? 0);
}

/** Takes out position `at`; the last entry moves there. */
function removeAt(level: number[], at: number): number | undefined {
  const row = level[at];
  const last = level.pop();
  if (last !== undefined && at < level.length) level[at] = last;
  return row;
}

/** A value of a spread preference, or the leaf below all of them. */
interface Branch {
  count: number;
  exhausted: boolean;
  readonly children: Map<string, Branch>;
  readonly good: Buckets;
  /** Nodes on which the service keeps failing: used when there is no other. */
  readonly bad: Buckets;
}

export class Candidates {
  readonly #choice: Choice;
  readonly #root = newBranch();
  readonly #isBad: (row: number) => boolean;

  constructor(choice: Choice, rows: readonly number[], isBad: (row: number) => boolean) {
    this.#choice = choice;
    this.#isBad = isBad;
    for (const row of rows) {
      const count = choice.request.counts[row] ?? 0;
      let leaf = this.#root;
      for (const branch of this.#path(row)) {
        branch.count += count;
        leaf = branch;
      }
      this.#insert(leaf, row, count);
    }
  }

  /** The best node for one more task of the service, which is counted there; undefined when none fits. */
  take(): number | undefined {
    const row = this.#takeFrom(this.#root);
    if (row === undefined) return undefined;
    const { counts, spec } = this.#choice.request;
    const count = (counts[row] ?? 0) + 1;
    counts[row] = count;
    this.#choice.columns.place(row, spec);
    let leaf = this.#root;
    for (const branch of this.#path(row)) {
      branch.count += 1;
      leaf = branch;
    }
    this.#insert(leaf, row, count);
    return row;
  }

  #insert(leaf: Branch, row: number, count: number): void {
    (this.#isBad(row) ? leaf.bad : leaf.good).add(row, this.#level(row, count));
  }

  #level(row: number, count: number): number {
    const { affinities, spec } = this.#choice.request;
    const rank = spec.placement.strategy === 'binpack' ? this.#emptiness(row) : count;
    if (affinities.length === 0) return rank;
    return misfit(affinities, row) * RANKS + Math.min(rank, RANKS - 1);
  }

  /** Highest for a node with nothing on it, of which a large cluster has too many to find another among them by chance. */
  #emptiness(row: number): number {
    const { columns } = this.#choice;
    columns.load(row);
    const free = Math.min(1, Math.max(0, columns.freeShare(row)));
    const used = (columns.active[row] ?? 0) > 0;
    return Math.min(Math.floor(free * FULLNESS_LEVELS), used ? FULLNESS_LEVELS - 1 : FULLNESS_LEVELS);
  }

  #takeFrom(branch: Branch): number | undefined {
    if (branch.children.size === 0) return branch.good.take(this.#choice) ?? branch.bad.take(this.#choice);
    for (;;) {
      let least: Branch | undefined;
      for (const child of branch.children.values()) {
        if (!child.exhausted && (least === undefined || child.count < least.count)) least = child;
      }
      if (least === undefined) return undefined;
      const row = this.#takeFrom(least);
      if (row !== undefined) return row;
      least.exhausted = true;
    }
  }

  /** The branches from below the root to the row's leaf; the root alone without preferences. */
  *#path(row: number): Generator<Branch> {
    let branch = this.#root;
    for (const key of this.#choice.request.spec.placement.spread) {
      const value = attributeOf(this.#choice.columns.node(row), key);
      let child = branch.children.get(value);
      if (child === undefined) {
        child = newBranch();
        branch.children.set(value, child);
      }
      branch = child;
      yield branch;
    }
  }
}

function newBranch(): Branch {
  return { count: 0, exhausted: false, children: new Map(), good: new Buckets(), bad: new Buckets() };
}
