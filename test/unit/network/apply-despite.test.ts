/** What the kernel refuses keeps nothing else from being done. */
import test from 'ava';
import fc from 'fast-check';
import { applyDespite } from '../../../agent/network/apply-despite.ts';
import type { Batch } from '../../../agent/network/plan.ts';

/** A kernel that refuses some operations, and does none after the first that it refuses. */
function kernel(refuses: (op: string) => boolean) {
  const done: string[] = [];
  let calls = 0;
  const apply = (batches: readonly Batch[]): Promise<void> => {
    calls += 1;
    for (const { netns, ops } of batches) {
      for (const { op } of ops) {
        const name = `${netns ?? ''} ${op}`;
        if (refuses(name)) return Promise.reject(new Error(name));
        // It does again what it has done.
        if (!done.includes(name)) done.push(name);
      }
    }
    return Promise.resolve();
  };
  return { done, apply, calls: () => calls };
}

const batch = (netns: string | null, count: number): Batch => ({
  netns,
  ops: Array.from({ length: count }, (_, i) => ({ op: `op${i}` })),
});

test('all but what is refused is done, in order, and the first refusal is told', async (t) => {
  const sizes = fc.array(fc.nat(30), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.array(fc.nat(29), { maxLength: 3 }), async (counts, bad) => {
      const batches = counts.map((count, i) => batch(`n${i}`, count));
      const refuses = (name: string): boolean => bad.some((i) => name.endsWith(` op${i}`));
      const all = batches.flatMap(({ netns, ops }) => ops.map(({ op }) => `${netns} ${op}`));
      const { done, apply } = kernel(refuses);
      const refusal = await applyDespite(batches, apply);
      t.deepEqual(
        done,
        all.filter((name) => !refuses(name)),
      );
      const [first] = all.filter(refuses);
      t.is(refusal?.message, first);
    }),
    { numRuns: 200 },
  );
});

test('a namespace that is not there costs no call for each of its operations', async (t) => {
  const { done, apply, calls } = kernel((name) => name.startsWith('gone'));
  await applyDespite([batch('gone', 10_000), batch(null, 3)], apply);
  t.true(calls() < 100, String(calls()));
  t.deepEqual(done, [' op0', ' op1', ' op2']);
});
