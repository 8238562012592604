import test from 'ava';
import { noTotals, simulate } from './simulate.ts';

const WORLDS = 28;
const ROUNDS = 3;

test.serial('the same seed gives the same events at the same times, another seed gives others', async (t) => {
  const digest = await simulate('7', { rounds: 1 });
  t.is(await simulate('7', { rounds: 1 }), digest);
  t.not(await simulate('8', { rounds: 1 }), digest);
});

test.serial(
  'whatever goes wrong, what is desired runs in the end, and no invariant breaks on the way',
  async (t) => {
    t.timeout(20 * 60_000);
    const totals = noTotals();
    for (let seed = 1; seed <= WORLDS; seed += 1) await simulate(String(seed), { rounds: ROUNDS, totals });
    t.log(JSON.stringify({ ...totals, cpuSeconds: process.cpuUsage().user / 1e6 }));
    t.is(totals.rounds, ROUNDS * WORLDS);
    t.true(totals.minutes >= 20_000);
    // The trouble was real: plans came too late, deposed leaders tried to write, etcd wrote what it said it had not, and
    // watches fell so far behind that they had to begin anew.
    for (const kind of ['stale', 'refused', 'unknown', 'resyncs'] as const) t.true(totals[kind] > 0, kind);
    t.is(Object.keys(totals.troubles).length, 15);
  },
);
