/**
 * Finds the one move of a task that makes its service's tasks lie more evenly: over the values of the spread preferences,
 * outermost first, then over the nodes. From a branch of the tree to another that has at least two less, so that the sum of
 * the squares at that level falls and nothing changes above it: moves come to an end.
 */

/** What is asked of the nodes; rows as the columns have them. */
export interface Levelling {
  /** Rows that may be moved to or from. */
  readonly rows: readonly number[];
  readonly count: (row: number) => number;
  /** Values of the spread preferences, outermost first. */
  readonly path: (row: number) => readonly string[];
  /** True: the node takes one more task. Asked at most once a row. */
  readonly fits: (row: number) => boolean;
  /** How many tasks the node has in all: among equals the least is chosen. */
  readonly load: (row: number) => number;
  /** False: the rules of nearness speak against this move. */
  readonly allows: (from: number, to: number) => boolean;
}

export interface Move {
  readonly from: number;
  readonly to: number;
}

interface Branch {
  count: number;
  readonly rows: number[];
  readonly children: Map<string, Branch>;
}

/** Of nodes that are equally good so many are compared. */
const SAMPLE = 16;

/** Undefined: there is none. */
export function findMove(levelling: Levelling): Move | undefined {
  const root = newBranch();
  for (const row of levelling.rows) {
    let leaf = root;
    root.count += levelling.count(row);
    for (const value of levelling.path(row)) {
      leaf = childOf(leaf, value);
      leaf.count += levelling.count(row);
    }
    leaf.rows.push(row);
  }
  const fitting = new Map<number, boolean>();
  const fits = (row: number): boolean => {
    const known = fitting.get(row) ?? levelling.fits(row);
    fitting.set(row, known);
    return known;
  };
  return within(root, { ...levelling, fits });
}

function newBranch(): Branch {
  return { count: 0, rows: [], children: new Map() };
}

function childOf(branch: Branch, value: string): Branch {
  const child = branch.children.get(value) ?? newBranch();
  branch.children.set(value, child);
  return child;
}

function within(branch: Branch, levelling: Levelling): Move | undefined {
  if (branch.children.size === 0) {
    return isEven(branch.rows, levelling) ? undefined : pick(branch.rows, branch.rows, 2, levelling);
  }
  const ascending = [...branch.children.values()].sort((a, b) => a.count - b.count);
  for (const low of ascending) {
    for (const high of ascending.toReversed()) {
      if (high.count - low.count < 2) break;
      const move = pick(rowsOf(high), rowsOf(low), Number.NEGATIVE_INFINITY, levelling);
      if (move !== undefined) return move;
    }
  }
  for (const child of ascending) {
    const move = within(child, levelling);
    if (move !== undefined) return move;
  }
  return undefined;
}

/** Mostly so: spares the sorting. */
function isEven(rows: readonly number[], { count }: Levelling): boolean {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const row of rows) {
    least = Math.min(least, count(row));
    most = Math.max(most, count(row));
  }
  return most - least < 2;
}

function rowsOf(branch: Branch): number[] {
  return branch.children.size === 0 ? branch.rows : [...branch.children.values()].flatMap(rowsOf);
}

/** From the row with the most tasks to the one with the fewest that takes one, if these are `apart` or further. */
function pick(
  from: readonly number[],
  to: readonly number[],
  apart: number,
  levelling: Levelling,
): Move | undefined {
  const { count, load } = levelling;
  const sources = from.filter((row) => count(row) > 0).sort((a, b) => count(b) - count(a));
  const most = sources[0] === undefined ? 0 : count(sources[0]);
  let best: Move | undefined;
  let seen = 0;
  for (const row of [...to].sort((a, b) => count(a) - count(b))) {
    if (most - count(row) < apart || seen >= SAMPLE) break;
    if (best !== undefined && count(row) > count(best.to)) break;
    if (!levelling.fits(row)) continue;
    const source = sources.find(
      (other) => count(other) - count(row) >= apart && levelling.allows(other, row),
    );
    if (source === undefined) continue;
    seen += 1;
    if (best === undefined || load(row) < load(best.to)) best = { from: source, to: row };
  }
  return best;
}
