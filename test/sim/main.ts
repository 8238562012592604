/** npm run sim -- --seed N --minutes M: worlds from seed N on, for M minutes. The first broken invariant ends it. */
import { parseArgs } from 'node:util';
import { noTotals, simulate } from './simulate.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, minutes: { type: 'string', default: '1' } },
});
const first = Number(values.seed);
const end = Date.now() + Number(values.minutes) * 60_000;
if (!Number.isSafeInteger(first) || Number.isNaN(end)) {
  console.error('usage: npm run sim -- --seed NUMBER --minutes NUMBER');
  process.exit(2);
}
const totals = noTotals();
let seed = first;
do {
  try {
    simulate(String(seed), 5, totals);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
  seed += 1;
} while (Date.now() < end);
console.log(JSON.stringify({ sim: 'ok', firstSeed: first, lastSeed: seed - 1, ...totals }));
