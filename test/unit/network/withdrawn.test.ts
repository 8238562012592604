import test from 'ava';
import type { ScopeChange } from '../../../agent/network/desired-tracker.ts';
import { keyOf, type KernelObject, scopeOf } from '../../../agent/network/kernel-object.ts';
import { observeScope, observeSeen } from '../../../agent/network/observe.ts';
import { flowPlaces, flushes } from '../../../agent/network/withdrawn.ts';
import type { AssignmentSet } from '../../../shared/model/index.ts';
import { assignmentsOf, network, type World } from '../../cluster/network-model.ts';
import { EMPTY_DUMP } from '../../harness/empty-dump.ts';
import { flowPlace, SELF } from './worlds.ts';

const SUBNET6 = 'fd00:5::/64';
const SEEN_OF = (table: string): object => ({ table, set: 'udp_seen' });

/** A service of two tasks with a VIP on `front`; the second serves or not, or is not there. */
function assignments(second: 'serves' | 'waits' | 'absent'): AssignmentSet {
  const task = (slot: number, serving: boolean): World['tasks'][number] => ({
    taskId: `task${slot}`,
    service: 'web',
    node: SELF,
    slot,
    addresses: { front: `10.5.0.${slot}` },
    serving,
    desired: 'running',
  });
  const more = second === 'absent' ? [] : [task(12, second === 'serves')];
  const front = network('front', 0x1001, '10.5.0', { subnet6: SUBNET6 });
  const vips = { front: '10.5.0.200' };
  return assignmentsOf(
    {
      peers: [{ nodeId: SELF, hostname: 'h', index: 1, address: '10.99.0.1' }],
      networks: [front],
      services: [{ name: 'web', aliases: [], vips, networks: ['front'], meshPorts: [], hostPorts: [] }],
      tasks: [task(11, true), ...more],
    },
    SELF,
  );
}

const FLUSH_UDP = { op: 'ct-flush', protocol: 17 };

test('UDP flows to who stops serving are forgotten, TCP connections to who is gone: in the families that there are', (t) => {
  const front = flowPlace({ netns: '/front', networkId: 'front', families: ['ip', 'ip6'] });
  const host = flowPlace({ netns: null, networkId: '', families: ['ip'], table: 'shoal-p' });
  const between = (one: AssignmentSet, other: AssignmentSet): unknown =>
    flushes(one, other, undefined, SELF, [front, host]);
  t.deepEqual(between(assignments('serves'), assignments('waits')), [
    {
      netns: '/front',
      ops: [{ ...FLUSH_UDP, backends: ['10.5.0.12', 'fd00:5::c'], seen: SEEN_OF('shoal') }],
    },
    { netns: null, ops: [{ ...FLUSH_UDP, backends: ['10.5.0.12'], seen: SEEN_OF('shoal-p') }] },
  ]);
  t.deepEqual(between(assignments('waits'), assignments('absent')), [
    { netns: '/front', ops: [{ op: 'ct-flush', protocol: 6, backends: ['10.5.0.12', 'fd00:5::c'] }] },
    { netns: null, ops: [{ op: 'ct-flush', protocol: 6, backends: ['10.5.0.12'] }] },
  ]);
  t.deepEqual(between(assignments('absent'), assignments('serves')), []);
});

test('what an agent before this one left is told by what the kernel has seen', (t) => {
  const seen = ['10.5.0.11', '10.5.0.12', 'fd00:5::c', '10.5.0.99'];
  const left = (set: AssignmentSet, addresses: readonly string[]): unknown =>
    flushes(undefined, set, undefined, SELF, [
      flowPlace({ netns: '/front', networkId: 'front', seen: addresses }),
      flowPlace({ networkId: 'other' }),
    ]);
  t.deepEqual(left(assignments('serves'), []), []);
  t.deepEqual(left(assignments('serves'), ['10.5.0.12', 'fd00:5::c']), []);
  const backends = ['10.5.0.12', 'fd00:5::c', '10.5.0.99'];
  t.deepEqual(left(assignments('waits'), seen), [
    { netns: '/front', ops: [{ ...FLUSH_UDP, backends, seen: SEEN_OF('shoal') }] },
  ]);
});

test('places are as they will be: a family is there with its table', (t) => {
  const table = (name: string): KernelObject => ({ type: 'table', table: name });
  const scope = (...names: string[]): Map<string, KernelObject> => scopeOf(names.map(table));
  const sandbox = { netns: '/front', vni: 7, networkId: 'front', gateway: '10.5.0.1' };
  const familiesAfter = (now: readonly string[], change: ScopeChange): unknown =>
    flowPlaces(
      { host: scope(), sandboxes: new Map([[7, scope(...now)]]), seen: new Map([['/front', ['10.5.0.12']]]) },
      {
        host: { whole: false, objects: scope('shoal-p') },
        sandboxes: new Map([['front', { ...sandbox, scope: change }]]),
      },
      'p',
    ).map(({ netns, families, seen }) => [netns, families.join(), seen.join()]);
  const host = [null, 'ip', ''];
  const part = (...names: string[]): ScopeChange => ({ whole: false, objects: scope(...names) });
  t.deepEqual(familiesAfter(['shoal'], part()), [['/front', 'ip', '10.5.0.12'], host]);
  t.deepEqual(familiesAfter(['shoal'], part('ip6 shoal')), [['/front', 'ip,ip6', '10.5.0.12'], host]);
  t.deepEqual(familiesAfter(['shoal', 'ip6 shoal'], { whole: true, objects: scope('shoal') }), [
    ['/front', 'ip', '10.5.0.12'],
    host,
  ]);
  const goes = new Map([[keyOf(table('ip6 shoal')), undefined]]);
  t.deepEqual(familiesAfter(['shoal', 'ip6 shoal'], { whole: false, objects: goes }), [
    ['/front', 'ip', '10.5.0.12'],
    host,
  ]);
});

test('what the kernel notes by itself is read, and not compared', (t) => {
  const set = (family: string, name: string, elem: readonly string[]): object => ({
    set: { family, name, table: 'shoal', elem },
  });
  const nftables = [
    set('ip', 'udp_seen', ['0.0.0.0', '10.5.0.12']),
    set('ip6', 'udp_seen', ['::', 'fd00:5::c']),
    set('ip', 'sources', ['10.5.0.13']),
  ] as readonly Record<string, unknown>[];
  t.deepEqual(observeSeen({ nftables }), ['10.5.0.12', 'fd00:5::c']);
  t.deepEqual(
    [...observeScope(EMPTY_DUMP, { nftables }, () => true).keys()],
    ['set shoal udp_seen', 'set ip6 shoal udp_seen', 'set shoal sources', 'element shoal sources 10.5.0.13'],
  );
});
