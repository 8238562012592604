import test from 'ava';
import { Lingering } from '../../../agent/network/lingering.ts';
import type { NetworkAssignment } from '../../../shared/model/index.ts';

function network(number: number, more: Partial<NetworkAssignment> = {}): NetworkAssignment {
  return {
    networkId: `net${number}`,
    name: `net${number}`,
    vni: 1000 + number,
    subnet: `10.${number}.0.0/24`,
    gateway: `10.${number}.0.1`,
    internal: false,
    ingress: false,
    ...more,
  };
}

const ids = (networks: readonly NetworkAssignment[]): string[] => networks.map((one) => one.networkId);

test('a network stays for its time after it was left, and not while it is used', (t) => {
  const kept = new Lingering(100);
  t.deepEqual(kept.keep([network(1), network(2)], 0), []);
  t.is(kept.dueMs, undefined);
  t.deepEqual(ids(kept.keep([network(2)], 10)), ['net1']);
  t.is(kept.dueMs, 110);
  t.deepEqual(ids(kept.keep([network(2)], 109)), ['net1']);
  t.deepEqual(ids(kept.keep([network(1), network(2)], 109)), []);
  t.deepEqual(ids(kept.keep([network(2)], 120)), ['net1']);
  t.deepEqual(ids(kept.keep([], 130)), ['net1', 'net2']);
  t.deepEqual(ids(kept.keep([], 220)), ['net2']);
  t.deepEqual(ids(kept.keep([], 230)), []);
});

test('it goes at once when another network has its number or its addresses, and when there are too many', (t) => {
  const kept = new Lingering(100);
  kept.keep([network(1), network(2), network(3)], 0);
  t.deepEqual(ids(kept.keep([], 1)), ['net1', 'net2', 'net3']);
  t.deepEqual(ids(kept.keep([network(7, { vni: 1001 })], 2)), ['net2', 'net3']);
  t.deepEqual(ids(kept.keep([network(8, { subnet: '10.2.0.128/25' })], 3)), ['net3', 'net7']);

  const many = new Lingering(100);
  many.keep(
    Array.from({ length: 40 }, (_, i) => network(i)),
    0,
  );
  t.is(many.keep([], 1).length, 16);
  t.is(many.keep([], 101).length, 0);
});

test('none is kept for no time, and none after clear', (t) => {
  const none = new Lingering(0);
  none.keep([network(1)], 0);
  t.deepEqual(none.keep([], 0), []);
  const kept = new Lingering(100);
  kept.keep([network(1)], 0);
  kept.clear();
  t.deepEqual(kept.keep([], 1), []);
});
