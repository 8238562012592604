/** What chaos finds: each kind of loss is told from what may be. */
import test from 'ava';
import { prng } from '../../../shared/lib/prng.ts';
import { chooseFaults } from '../../chaos/faults.ts';
import { Ledger } from '../../chaos/ledger.ts';

const seen = (name: string, value: string) => ({ kind: 'service', name, value }) as const;

test('what was acknowledged must be there, what was not may be', (t) => {
  const ledger = new Ledger();
  const a = ledger.begin('service', 'a', '1');
  t.deepEqual(ledger.compare([]), []);
  t.deepEqual(ledger.compare([seen('a', '1')]), []);
  ledger.created(a, 'id-a');
  t.deepEqual(ledger.compare([]), ['service a: acknowledged, and lost']);
  ledger.changing(a, '2');
  t.deepEqual(ledger.compare([seen('a', '1')]), []);
  t.deepEqual(ledger.compare([seen('a', '2')]), []);
  ledger.changed(a);
  t.deepEqual(ledger.compare([seen('a', '2')]), []);
  t.deepEqual(ledger.compare([seen('a', '1')]), ['service a: is 1, which is none of 2']);
  ledger.changing(a, '3');
  ledger.unchanged(a);
  t.deepEqual(ledger.compare([seen('a', '3')]), ['service a: is 3, which is none of 2']);
  a.removing = true;
  t.deepEqual(ledger.compare([]), []);
  ledger.removed(a);
  t.deepEqual(ledger.compare([seen('a', '2')]), ['service a: its removal was acknowledged, and it is there']);
  t.deepEqual(ledger.compare([seen('b', '1')]), ['service b: nobody has asked for it']);
});

test('the same seed chooses the same faults, and all kinds come', (t) => {
  const run = (seed: string) => {
    const random = prng(seed);
    return Array.from({ length: 200 }, () => chooseFaults(random));
  };
  t.deepEqual(run('1'), run('1'));
  t.notDeepEqual(run('1'), run('2'));
  const kinds = new Set(run('1').flatMap((faults) => faults.map(({ kind }) => kind)));
  t.is(kinds.size, 16);
});
