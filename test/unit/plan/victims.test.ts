import test from 'ava';
import fc from 'fast-check';
import { chooseVictims, type Evictable } from '../../../manager/plan/schedule/victims.ts';

let made = 0;
function task(priority: number, frees: readonly number[], createdAtMs = 0): Evictable {
  made += 1;
  return { taskId: `t${String(made).padStart(4, '0')}`, priority, createdAtMs, frees };
}

test('the lowest priority goes, even if that takes more tasks', (t) => {
  const low = [task(0, [1]), task(0, [1]), task(0, [1]), task(0, [1])];
  const high = task(5, [4]);
  t.deepEqual(chooseVictims([4], [high, ...low]), low);
  t.deepEqual(chooseVictims([5], [high, ...low])?.length, 2);
});

test('as few as can be, then the youngest', (t) => {
  const [small, big] = [task(0, [2]), task(0, [4])];
  t.deepEqual(chooseVictims([4], [small, task(0, [2]), big]), [big]);
  const [old, young] = [task(0, [4], 1), task(0, [4], 2)];
  t.deepEqual(chooseVictims([3], [young, old]), [young]);
});

test('one that has all that is short comes before two that have a part of it each', (t) => {
  const both = task(0, [3, 3]);
  t.deepEqual(chooseVictims([3, 3], [task(0, [9, 0]), task(0, [0, 9]), both]), [both]);
});

test('what frees nothing of what is short stays; too little is nothing', (t) => {
  const useful = task(3, [0, 1]);
  t.deepEqual(chooseVictims([0.5, 1], [task(0, [0, 0]), useful, task(3, [1, 0])])?.length, 2);
  t.is(chooseVictims([2], [task(0, [1])]), undefined);
  t.is(chooseVictims([1], []), undefined);
});

/** All subsets that suffice, as their highest priority and size. */
function bruteForce(
  short: number,
  tasks: readonly Evictable[],
): { highest: number; size: number } | undefined {
  let best: { highest: number; size: number } | undefined;
  for (let bits = 1; bits < 2 ** tasks.length; bits += 1) {
    const chosen = tasks.filter((_, i) => (bits & (1 << i)) !== 0);
    if (chosen.reduce((sum, { frees }) => sum + (frees[0] ?? 0), 0) < short) continue;
    const found = { highest: Math.max(...chosen.map(({ priority }) => priority)), size: chosen.length };
    if (
      best === undefined ||
      found.highest < best.highest ||
      (found.highest === best.highest && found.size < best.size)
    )
      best = found;
  }
  return best;
}

const evictables = (priorities: fc.Arbitrary<number>, things: number) =>
  fc.array(
    fc
      .tuple(priorities, fc.array(fc.nat(6), { minLength: things, maxLength: things }), fc.nat(3))
      .map(([priority, frees, at]) => task(priority, frees, at)),
    { maxLength: 9 },
  );

test('of one priority and one thing that is short: exactly the fewest', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), evictables(fc.constant(0), 1), (short, tasks) => {
      const best = bruteForce(short, tasks);
      return chooseVictims([short], tasks)?.length === best?.size;
    }),
  );
  t.pass();
});

test('the highest priority among the victims is the lowest possible, and none of them could be spared', (t) => {
  const shorts = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 2 });
  fc.assert(
    fc.property(shorts, evictables(fc.nat(3), 2), (short, tasks) => {
      const enough = (chosen: readonly Evictable[]): boolean =>
        short.every((amount, i) => chosen.reduce((sum, { frees }) => sum + (frees[i] ?? 0), 0) >= amount);
      const victims = chooseVictims(short, tasks);
      if (victims === undefined) return !enough(tasks);
      const highest = Math.max(...victims.map(({ priority }) => priority));
      const lower = tasks.filter(({ priority }) => priority < highest);
      return (
        enough(victims) &&
        !enough(lower) &&
        victims.every((one) => !enough(victims.filter((other) => other !== one)))
      );
    }),
  );
  t.pass();
});
