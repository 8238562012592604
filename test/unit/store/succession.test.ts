/** When a leader among managers that does not renew its lease is not waited for. */
import test from 'ava';
import fc from 'fast-check';
import { isNotRenewed, LeaderChanges } from '../../../manager/store/succession.ts';

test('a lease that is renewed after a quarter of its time is never ended, one that is not is, before it would end', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 60 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (granted, part) => {
        const left = (sinceMs: number): number => Math.floor((granted * 1_000 - sinceMs) / 1_000);
        const renewsAfterMs = (granted * 1_000) / 4;
        t.false(isNotRenewed(left(renewsAfterMs * part), granted));
        t.true(isNotRenewed(left(granted * 990), granted));
      },
    ),
  );
  t.false(isNotRenewed(-1, 3), 'it is gone already');
});

test('only for a while after etcd has another leader; none is not another one', (t) => {
  const changes = new LeaderChanges();
  changes.seen('1', 0);
  t.false(changes.lately(1), 'the first that is seen');
  changes.seen('0', 100);
  changes.seen('1', 200);
  t.false(changes.lately(201));
  changes.seen('0', 300);
  changes.seen('2', 1_000);
  t.true(changes.lately(1_001));
  changes.seen('2', 5_900);
  t.true(changes.lately(5_900));
  t.false(changes.lately(6_100));
});
