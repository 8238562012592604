import test from 'ava';
import { noTotals, simulate } from './simulate.ts';

const WORLDS = 60;

test('whatever goes wrong, what is desired runs in the end, and no invariant breaks on the way', async (t) => {
  const totals = noTotals();
  for (let seed = 1; seed <= WORLDS; seed += 1) await simulate(String(seed), { rounds: 3, totals });
  t.log(JSON.stringify(totals));
  t.is(totals.rounds, 3 * WORLDS);
});
