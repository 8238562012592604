/** npm run sim: simulates worlds from a seed on. The first broken invariant ends it, with what led to it. */
import { parseArgs } from 'node:util';
import { noTotals, simulate } from './simulate.ts';

/** Of each world. */
const ROUNDS = 3;
const USAGE = `usage: npm run sim -- [--seed N] [--minutes M] [--trace]

Simulates clusters in trouble, one after the other, each made from a seed, and checks the invariants of the design.

  --seed N     the first cluster's seed; the next have N+1, N+2, ... (default 1)
  --minutes M  simulated minutes in all: no new cluster is begun after them (default 5000; a cluster lives for about 1080)
  --trace      print every event

A broken invariant is printed with the seed and the last events, and the exit code is 1. The same seed gives the same events.`;

function parse(): { seed: number; minutes: number; trace: boolean } {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '5000' },
      trace: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const seed = Number(values.seed);
  const minutes = Number(values.minutes);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed: a whole number from 0 is expected');
  if (!(minutes > 0)) throw new Error('--minutes: a number above 0 is expected');
  return { seed, minutes, trace: values.trace };
}

async function run(): Promise<void> {
  const { seed: first, minutes, trace } = parse();
  const totals = noTotals();
  let seed = first;
  do {
    await simulate(String(seed), {
      rounds: ROUNDS,
      totals,
      ...(trace ? { print: (line: string) => console.log(line) } : {}),
    });
    seed += 1;
  } while (totals.minutes < minutes);
  console.log(JSON.stringify({ sim: 'ok', firstSeed: first, lastSeed: seed - 1, ...totals }));
}

run().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
