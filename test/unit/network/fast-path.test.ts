/** The fast path: who has one, and that none is ever given to who may have translated connections. */
import test from 'ava';
import fc from 'fast-check';
import { attachPlan } from '../../../agent/network/attach.ts';
import { desiredState } from '../../../agent/network/desired.ts';
import { diffScope } from '../../../agent/network/diff.ts';
import { FAST_TABLE, observeFastPaths } from '../../../agent/network/fast-path.ts';
import { type KernelObject, scopeOf } from '../../../agent/network/kernel-object.ts';
import type { Self } from '../../../agent/network/local.ts';
import { observeScope, type TableDump } from '../../../agent/network/observe.ts';
import type { AssignmentSet } from '../../../shared/model/index.ts';
import { assignmentsOf, network, type World } from '../../cluster/network-model.ts';
import { EMPTY_DUMP } from '../../harness/empty-dump.ts';
import { SELF, selfWith, worlds } from './worlds.ts';

const OTHER = 'n2bbbbbbbbbbbbbbbbbbbbbbb';
const running = { slot: 1, serving: true, desired: 'running' as const };

function worldWith(more: Partial<Parameters<typeof network>[3]> = {}): World {
  const service = { aliases: [], meshPorts: [], hostPorts: [], networks: ['front'], vips: {} };
  return {
    peers: [SELF, OTHER].map((nodeId, i) => ({
      nodeId,
      hostname: `h${i}`,
      index: i + 1,
      address: `10.99.0.${i + 1}`,
    })),
    networks: [network('front', 0x1001, '10.5.0', more)],
    services: [
      { ...service, name: 'here' },
      { ...service, name: 'there' },
    ],
    tasks: [
      { ...running, taskId: 'h'.repeat(25), service: 'here', node: SELF, addresses: { front: '10.5.0.11' } },
      {
        ...running,
        taskId: 't'.repeat(25),
        service: 'there',
        node: OTHER,
        addresses: { front: '10.5.0.12' },
      },
    ],
  };
}

function sandboxOf(set: AssignmentSet, self: Self): KernelObject[] {
  return [...(desiredState(set, self).sandboxes.get('front')?.objects.values() ?? [])];
}

function selfOf(set: AssignmentSet): Self {
  return selfWith([...set.tasks.values()]);
}

const isFast = (object: KernelObject): boolean =>
  object.type === 'fast-path' || ('table' in object && object.table === FAST_TABLE);

test('a container’s device has one from its beginning, and leads to the nodes of the others', (t) => {
  const set = assignmentsOf(worldWith({ subnet6: 'fd00:5::/64' }), SELF);
  const self = selfOf(set);
  const objects = sandboxOf(set, self);
  const own = objects.filter(({ type }) => type === 'fast-path');
  const names = { chain: 'out', here: 'here', translated: 'translated' };
  const names6 = { chain: 'out6', here: 'here6', translated: 'translated6' };
  const ways = [
    { address: '10.5.0.11', ...names },
    { address: 'fd00:5::b', ...names6 },
  ];
  t.deepEqual(own, [{ type: 'fast-path', dev: 'chhhhhhhhhhhh', table: 'shoal', ways }]);
  const ends = objects.flatMap((o) =>
    o.type === 'element' && o.table === FAST_TABLE ? `${o.set} ${o.key} ${o.value}` : [],
  );
  t.deepEqual(ends, ['there 10.5.0.12 10.99.0.2', 'there6 fd00:5::c fe80::5:0:2']);
  const task = set.tasks.get('h'.repeat(25));
  if (task === undefined) return t.fail('the task is there');
  const ops = attachPlan(task, set, self, '/proc/7/ns/net').batches.flatMap((batch) => batch.ops);
  const at = (op: string): number => ops.findIndex((one) => one.op === op);
  t.true(at('link-add') < at('fast-path-add'), 'its device is there');
  const up = ops.findIndex(({ op, name }) => op === 'link-set' && name === 'eth0');
  t.true(at('fast-path-add') < up, 'before it sends anything');
});

test('none on ingress, where containers are kept apart, of another’s network, under a list, or without the kernel', (t) => {
  const allow = [{ from: ['there'] }];
  for (const more of [{ ingress: true }, { isolated: true }, { outside: { driver: 'macvlan' } }] as never[]) {
    const set = assignmentsOf(worldWith(more), SELF);
    t.deepEqual(sandboxOf(set, selfOf(set)).filter(isFast), [], JSON.stringify(more));
  }
  const set = assignmentsOf(worldWith(), SELF);
  t.deepEqual(sandboxOf(set, { ...selfOf(set), fastPath: false }).filter(isFast), []);
  const guarded = assignmentsOf(worldWith({ allow }), SELF);
  const objects = sandboxOf(guarded, selfOf(guarded));
  t.deepEqual(
    objects.filter(({ type }) => type === 'fast-path'),
    [],
  );
  t.true(objects.some(isFast), 'others of the network may have one');
});

test('a list takes it away; none comes back, nor to a device that was there before', (t) => {
  const open = assignmentsOf(worldWith(), SELF);
  const guarded = assignmentsOf(worldWith({ allow: [{ from: ['there'] }] }), SELF);
  const [before, after] = [open, guarded].map((set) => scopeOf(sandboxOf(set, selfOf(set))));
  if (before === undefined || after === undefined) return t.fail();
  const verbs = (from: typeof before, to: typeof before): string[] =>
    diffScope(from, to, '/n').rest.map(({ op }) => op);
  t.true(verbs(before, after).includes('fast-path-del'));
  t.false(verbs(after, before).some((op) => op.startsWith('fast-path')));
});

test('whatever is there, a difference never makes one', (t) => {
  fc.assert(
    fc.property(worlds, worlds, (one, other) => {
      const [from, to] = [one, other].map((world) => {
        const set = assignmentsOf(world, SELF);
        return desiredState(set, selfWith([...set.tasks.values()])).sandboxes;
      });
      for (const [id, { objects, netns }] of to ?? []) {
        const diff = diffScope(from?.get(id)?.objects ?? new Map(), objects, netns);
        for (const ops of Object.values(diff))
          t.false(ops.some(({ op }: { op: string }) => op === 'fast-path-add'));
      }
    }),
    { numRuns: 100 },
  );
});

test('read back: chains are the containers’, and what is of none of them goes', (t) => {
  const chains = ['out', 'tunnel', 'cone', 'cold'];
  const elements = [
    { set: 'here', key: '10.5.0.11', value: 'cone' },
    { set: 'here6', key: 'fd00:5::b', value: 'cone' },
    { set: 'here', key: '10.5.0.99', value: '17' },
    { set: 'translated', key: '10.5.0.11' },
    { set: 'translated', key: '10.5.0.98' },
    { set: 'elsewhere', key: '10.5.0.97' },
  ];
  const found = observeFastPaths({ chains, elements });
  t.deepEqual(
    found.map((o) => (o.type === 'fast-path' ? [o.dev, ...o.ways.map((way) => way.address)] : o)),
    [
      ['cone', '10.5.0.11', 'fd00:5::b'],
      ['cold'],
      { type: 'element', table: FAST_TABLE, set: 'here', key: '10.5.0.99', value: '17' },
      { type: 'element', table: FAST_TABLE, set: 'translated', key: '10.5.0.98' },
    ],
  );
});

test('rules that know the tunnel by a number of before are made anew', (t) => {
  const table = (dev: string): TableDump => ({
    nftables: [
      { table: { family: 'netdev', name: 'shoal' } },
      { chain: { family: 'netdev', table: 'shoal', name: 'out' } },
      { rule: { family: 'netdev', table: 'shoal', chain: 'out', comment: 'mark', expr: [{ fwd: { dev } }] } },
    ],
  });
  const marks = (dev: string): unknown => {
    const chain = observeScope(EMPTY_DUMP, table(dev), () => true).get(`chain ${FAST_TABLE} out`);
    return chain?.type === 'chain' ? chain.marks : undefined;
  };
  t.deepEqual(marks('vx0'), ['mark']);
  t.deepEqual(marks('9'), ['']);
});
