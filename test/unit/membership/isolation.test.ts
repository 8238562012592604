import test from 'ava';
import { Isolation } from '../../../manager/membership/isolation.ts';

/** `history`: from when on it stands or not; looked at every 250 ms until `toMs`. Returns when nodes were sent away. */
function sentAway(history: readonly (readonly [fromMs: number, stands: boolean])[], toMs: number): number[] {
  const sent: number[] = [];
  let nowMs = 0;
  const isolation = new Isolation({
    stands: () => history.findLast(([fromMs]) => fromMs <= nowMs)?.[1] ?? false,
    hasOthers: () => true,
    sendAway: () => sent.push(nowMs),
    nowMs: () => nowMs,
  });
  for (; nowMs <= toMs; nowMs += 250) isolation.look();
  return sent;
}

test('one that has never stood, or stands again at once, keeps its nodes', (t) => {
  t.deepEqual(sentAway([[0, false]], 60_000), []);
  const short = [
    [0, true],
    [1000, false],
    [2000, true],
  ] as const;
  t.deepEqual(sentAway(short, 60_000), []);
});

test('one that is not heard of sends them away once, and once more the next time', (t) => {
  const twice = [
    [0, true],
    [1000, false],
    [20_000, true],
    [30_000, false],
  ] as const;
  t.deepEqual(sentAway(twice, 60_000), [2250, 31_250]);
});
