/** Runs one world from its seed, with all of Node's clocks, chance and disk replaced for as long as that takes. */
import { fakeGlobals } from './fake-globals.ts';
import { World, type WorldOptions } from './world.ts';

export interface Totals {
  worlds: number;
  rounds: number;
  minutes: number;
  events: number;
  leaders: number;
  commits: number;
  stale: number;
  /** Transactions of leaders that were none any more. */
  refused: number;
  /** Transactions that were written, and whose writers were told that they failed. */
  unknown: number;
  /** Watches that had to begin anew. */
  resyncs: number;
  readonly troubles: Record<string, number>;
}

export interface SimulateOptions extends WorldOptions {
  readonly rounds: number;
  readonly totals?: Totals;
}

/** `rounds` times trouble and peace. Resolves with a digest of all that happened; rejects when an invariant breaks. */
export async function simulate(
  seed: string,
  { rounds, totals = noTotals(), ...options }: SimulateOptions,
): Promise<string> {
  const world = new World(seed, options);
  const undo = fakeGlobals(world);
  const startMs = world.time.now;
  try {
    for (let round = 1; round <= rounds; round += 1) {
      world.trace.note('world', `round ${round}`);
      await world.round().catch((cause: unknown) => {
        const what = cause instanceof Error ? cause.message : String(cause);
        const text = `${world.trace.last()}\nseed ${seed}, round ${round}: ${what}`;
        throw new Error(`${text}\nto see it again: npm run sim -- --seed ${seed} --minutes 1 --trace`, {
          cause,
        });
      });
      totals.rounds += 1;
    }
  } finally {
    await world.close();
    undo();
  }
  add(totals, world, (world.time.now - startMs) / 60_000);
  return world.trace.digest();
}

function add(totals: Totals, { time, etcd, troubles }: World, minutes: number): void {
  totals.worlds += 1;
  totals.minutes += minutes;
  totals.events += time.events;
  totals.leaders += troubles.leaders;
  totals.commits += etcd.commits;
  totals.stale += etcd.stale;
  totals.refused += etcd.refused;
  totals.unknown += etcd.unknown;
  totals.resyncs += etcd.resyncs;
  for (const [kind, count] of Object.entries(troubles.counts))
    totals.troubles[kind] = (totals.troubles[kind] ?? 0) + count;
}

export function noTotals(): Totals {
  const counts = { worlds: 0, rounds: 0, minutes: 0, events: 0 };
  return { ...counts, leaders: 0, commits: 0, stale: 0, refused: 0, unknown: 0, resyncs: 0, troubles: {} };
}
