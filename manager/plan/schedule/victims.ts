/**
 * Which tasks of one node are stopped so that another fits. Of the lowest priorities that suffice; then as few as can be
 * (exactly so where one thing is short; where several are, none of them could be spared); of equals the youngest.
 */

/** A task that may be stopped. */
export interface Evictable {
  readonly taskId: string;
  readonly priority: number;
  readonly createdAtMs: number;
  /** What it would free, in the order of what is short. */
  readonly frees: readonly number[];
}

/** Undefined: all of them together do not free enough. `short`: how much of each thing is missing, all above 0. */
export function chooseVictims<T extends Evictable>(
  short: readonly number[],
  tasks: readonly T[],
): T[] | undefined {
  const useful = tasks.filter(({ frees }) => worth(short, frees) > 0).sort((a, b) => a.priority - b.priority);
  const enough = enoughOf(short, useful);
  if (enough === undefined) return undefined;
  // From the one that should be spared first: each is, if the others suffice.
  const order = [...enough].sort(
    (a, b) =>
      b.priority - a.priority ||
      worth(short, a.frees) - worth(short, b.frees) ||
      a.createdAtMs - b.createdAtMs ||
      (a.taskId < b.taskId ? -1 : 1),
  );
  const victims = new Set(enough);
  const sum = total(short, enough);
  for (const task of order) {
    const spared = short.every((amount, i) => (sum[i] ?? 0) - (task.frees[i] ?? 0) >= amount);
    if (!spared) continue;
    victims.delete(task);
    short.forEach((_, i) => (sum[i] = (sum[i] ?? 0) - (task.frees[i] ?? 0)));
  }
  return [...victims];
}

/** All tasks up to the lowest priority at which they are enough. */
function enoughOf<T extends Evictable>(short: readonly number[], sorted: readonly T[]): T[] | undefined {
  const taken: T[] = [];
  const sum = short.map(() => 0);
  for (const [at, task] of sorted.entries()) {
    taken.push(task);
    short.forEach((_, i) => (sum[i] = (sum[i] ?? 0) + (task.frees[i] ?? 0)));
    if (sorted[at + 1]?.priority === task.priority) continue;
    if (short.every((amount, i) => (sum[i] ?? 0) >= amount)) return taken;
  }
  return undefined;
}

function total(short: readonly number[], tasks: readonly Evictable[]): number[] {
  return short.map((_, i) => tasks.reduce((sum, { frees }) => sum + (frees[i] ?? 0), 0));
}

/** How much of what is short a task would free: the sum of the shares, none above 1. */
function worth(short: readonly number[], frees: readonly number[]): number {
  return short.reduce((sum, amount, i) => sum + Math.min(1, (frees[i] ?? 0) / amount), 0);
}
