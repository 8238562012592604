import test from 'ava';
import fc from 'fast-check';
import { paceFor, Pacing } from '../../../manager/dispatcher/pace.ts';

const setting = fc.integer({ min: 100, max: 60_000 });
const sessions = fc.integer({ min: 0, max: 100_000 });

test('a cluster of up to 4,000 nodes has the silence that is set', (t) => {
  for (const nodes of [0, 1, 100, 4_000]) t.is(paceFor(2_000, nodes).downAfterMs, 2_000);
  t.deepEqual(paceFor(2_000, 3), { downAfterMs: 2_000, beatMs: 666, tickMs: 250 });
  t.is(paceFor(2_000, 10_000).downAfterMs, 5_187);
});

test('a manager never reads more than 6,000 beats a second because of a setting that is not below 10 ms a beat', (t) => {
  fc.assert(
    fc.property(setting, sessions, (setMs, nodes) => {
      const { beatMs, downAfterMs } = paceFor(setMs, nodes);
      t.true(downAfterMs >= setMs);
      // A beat is a whole number of milliseconds.
      t.true((nodes * 1_000) / (beatMs + 1) <= 6_000);
      t.true(downAfterMs <= Math.max(setMs, (nodes / 2) * 1.1) + 1);
      t.true(beatMs * 3 <= Math.max(30, downAfterMs));
    }),
  );
});

test('nodes that come are told of a slower pace, at most every ten seconds', (t) => {
  const pacing = new Pacing(2_000, 0);
  t.false(pacing.look(10_000, 9_999));
  t.true(pacing.look(10_000, 10_000));
  t.is(pacing.pace.downAfterMs, 5_187);
  t.false(pacing.look(20_000, 19_999));
  t.false(pacing.look(10_000, 20_000));
});

test('a node that comes and goes at the edge of a step does not change the pace each time', (t) => {
  const pacing = new Pacing(2_000, 0);
  t.true(pacing.look(4_001, 10_000));
  for (const [turn, nodes] of [4_000, 4_001, 3_900, 4_001].entries())
    t.false(pacing.look(nodes, 20_000 + turn * 10_000));
  t.true(pacing.look(3_200, 100_000));
  t.is(pacing.pace.downAfterMs, 2_000);
});

test('a setting that changes holds at once, for many nodes as far as it can', (t) => {
  const pacing = new Pacing(2_000, 0);
  t.false(pacing.set(2_000, 10));
  t.true(pacing.set(500, 10));
  t.is(pacing.pace.downAfterMs, 500);
  t.true(pacing.set(1_000, 10_000));
  t.true(pacing.pace.downAfterMs >= 5_000);
});
