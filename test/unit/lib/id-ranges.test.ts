import test from 'ava';
import fc from 'fast-check';
import {
  DEFAULT_POOL,
  freeRange,
  type IdRange,
  parsePool,
  RANGE_IDS,
  sharedWith,
} from '../../../shared/lib/id-ranges.ts';

test('ranges are in the pool and share no id with any that is taken, until there is none', (t) => {
  const pool = { first: 100_000, count: 5 * RANGE_IDS + 17 };
  const some = fc.array(
    fc.record({ first: fc.nat(600_000), count: fc.integer({ min: 1, max: 2 * RANGE_IDS }) }),
  );
  const property = fc.property(some, (others) => {
    const taken: IdRange[] = [...others];
    for (let range = freeRange(pool, taken); range !== undefined; range = freeRange(pool, taken)) {
      const { first, count } = range;
      if (count !== RANGE_IDS || first < pool.first || first + count > pool.first + pool.count) return false;
      if (taken.some((other) => first < other.first + other.count && other.first < first + count))
        return false;
      taken.push(range);
    }
    return taken.length - others.length <= 5;
  });
  t.notThrows(() => fc.assert(property));
  const all: IdRange[] = [];
  for (let i = 0; i < 5; i += 1) all.push(freeRange(pool, all) ?? pool);
  t.is(freeRange(pool, all), undefined);
  // One that has ended makes room.
  t.deepEqual(freeRange(pool, all.toSpliced(2, 1)), all[2]);
});

test('a pool is FIRST:COUNT, with ids that are nobody’s', (t) => {
  t.deepEqual(parsePool('1073741824:805306368'), DEFAULT_POOL);
  for (const bad of ['', '1', '0:65536', '65536:1', '65536:4294967295', 'a:b', '65536:65536:1', '-1:65536'])
    t.throws(() => parsePool(bad), { message: /FIRST:COUNT/ }, bad);
});

test('users of the node who have the same ids are named', (t) => {
  const lines = 'me:100000:65536\n# me:1073741824:1\nyou:1073000000:800000\nshe:1879048192:10\nbad\n';
  t.deepEqual(sharedWith(DEFAULT_POOL, lines), ['you:1073000000:800000']);
});
