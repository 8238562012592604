import { World } from './world.ts';

export interface Totals {
  rounds: number;
  leaders: number;
  commits: number;
  stale: number;
  refused: number;
}

/** One world, `rounds` times trouble and peace. Throws, naming the seed, when an invariant breaks. */
export function simulate(seed: string, rounds: number, totals: Totals): void {
  const world = new World(seed);
  for (let round = 1; round <= rounds; round += 1) {
    try {
      world.round();
    } catch (cause) {
      throw new Error(
        `seed ${seed}, round ${round}: ${cause instanceof Error ? cause.message : String(cause)}`,
        {
          cause,
        },
      );
    }
    totals.rounds += 1;
  }
  totals.leaders += world.leaders.length;
  for (const { commits, stale, refused } of world.leaders) {
    totals.commits += commits;
    totals.stale += stale;
    totals.refused += refused;
  }
}

export function noTotals(): Totals {
  return { rounds: 0, leaders: 0, commits: 0, stale: 0, refused: 0 };
}
