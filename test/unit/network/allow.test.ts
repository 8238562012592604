/** Allow-lists: how they are written, and that the rules made of them let in whom they name and nobody else. */
import test from 'ava';
import fc from 'fast-check';
import { allowLists, memberObjects } from '../../../agent/network/allow.ts';
import { viewsOf } from '../../../agent/network/desired.ts';
import { EndpointIndex } from '../../../agent/network/endpoint-index.ts';
import { familiesOf, inFamily } from '../../../agent/network/family.ts';
import type { KernelObject } from '../../../agent/network/kernel-object.ts';
import { readAllow, readAllowFrom } from '../../../shared/lib/allow-list.ts';
import type { AllowRule, AssignmentSet, EndpointAssignment } from '../../../shared/model/index.ts';
import { assignmentsOf, network, type World } from '../../cluster/network-model.ts';
import { SELF, selfWith, worlds } from './worlds.ts';

test('lists are labels', (t) => {
  const from = (text: string, stack?: string): unknown =>
    readAllowFrom({
      'shoal.allow-from': text,
      ...(stack === undefined ? {} : { 'com.docker.stack.namespace': stack }),
    });
  t.is(readAllowFrom({}), undefined);
  t.deepEqual(from('none'), []);
  t.deepEqual(from('web:5432, backup,*:icmp'), [
    { from: ['web'], protocol: 'tcp', ports: [5432, 5432] },
    { from: ['backup'] },
    { protocol: 'icmp' },
  ]);
  t.deepEqual(from('web:8000-8010/udp,*:sctp', 'shop'), [
    { from: ['shop_web', 'web'], protocol: 'udp', ports: [8000, 8010] },
    { protocol: 'sctp' },
  ]);
  for (const text of [
    '',
    ',',
    'web,',
    'web:',
    'web:0',
    'web:9-8',
    'web:1-65536',
    'web:80/icmp',
    'a b',
    'a:b',
    '-a',
  ])
    t.is(typeof from(text), 'string', text);
  t.regex(
    String(from('web:http')),
    /^'web:http': a service's name or \* is expected, then if not all ports :PORT/,
  );
  t.regex(String(from(Array.from({ length: 201 }, () => '*').join(','))), /at most 200/);
  const on = (text: string): unknown =>
    readAllow({ 'shoal.allow': text, 'com.docker.stack.namespace': 'shop' });
  t.deepEqual(on('web > db:5432 , *>cache'), [
    { from: ['shop_web', 'web'], to: ['shop_db', 'db'], protocol: 'tcp', ports: [5432, 5432] },
    { to: ['shop_cache', 'cache'] },
  ]);
  t.deepEqual(on('web>*'), [{ from: ['shop_web', 'web'] }]);
  for (const text of ['web', 'a>b>c', '>b', 'a>', 'a:80>b']) t.is(typeof on(text), 'string', text);
});

interface Packet {
  readonly source: string;
  readonly protocol: string;
  readonly port: number;
}

/** What the sandbox's rules do with the first packet of a connection: those of chain `allowed`, from its map on. */
function verdict(objects: readonly KernelObject[], to: string, packet: Packet): 'accept' | 'reject' {
  const elements = objects.flatMap((one) => (one.type === 'element' ? [one] : []));
  let chain = elements.find(({ set, key }) => set === 'guarded' && key === to)?.value?.slice('goto '.length);
  while (chain !== undefined) {
    const name: string = chain;
    chain = undefined;
    const rules = objects.find((one) => one.type === 'chain' && one.name === name);
    if (rules?.type !== 'chain') throw new Error(`no chain ${name}`);
    for (const rule of rules.rules ?? []) {
      const found =
        /^(?:ip6? saddr @(\S+) )?(?:meta l4proto (\S+) |(\S+) dport (\d+)(?:-(\d+))? )?(accept|goto \S+|reject.*)$/.exec(
          rule,
        );
      if (found === null) {
        if (rule !== 'ct state invalid drop') throw new Error(`what is ${rule}?`);
        continue;
      }
      const [, set, whole, protocol, first, last, end = ''] = found;
      if (set !== undefined && !elements.some((one) => one.set === set && one.key === packet.source))
        continue;
      if ((whole ?? protocol ?? packet.protocol) !== packet.protocol) continue;
      if (first !== undefined && (packet.port < Number(first) || packet.port > Number(last ?? first)))
        continue;
      if (end === 'accept') return 'accept';
      if (end.startsWith('reject')) return 'reject';
      chain = end.slice('goto '.length);
      break;
    }
  }
  return 'accept';
}

/** The same, by what lists mean. */
function allowed(
  world: World,
  networkId: string,
  from: EndpointAssignment,
  to: EndpointAssignment,
  packet: Packet,
) {
  if (from.serviceName === to.serviceName) return true;
  const present = new Set(
    world.services.filter(({ networks }) => networks.includes(networkId)).map(({ name }) => name),
  );
  const means = (names: readonly string[] | undefined, name: string): boolean =>
    names === undefined || names.find((one) => present.has(one)) === name;
  const passes = (rules: readonly AllowRule[] | undefined): boolean =>
    rules === undefined ||
    rules.some(
      (rule) =>
        means(rule.from, from.serviceName) &&
        means(rule.to, to.serviceName) &&
        (rule.protocol ?? packet.protocol) === packet.protocol &&
        (rule.ports === undefined || (rule.ports[0] <= packet.port && packet.port <= rule.ports[1])),
    );
  const network = world.networks.find((one) => one.networkId === networkId);
  return (
    passes(network?.allow) && passes(world.services.find(({ name }) => name === to.serviceName)?.allowFrom)
  );
}

const packets = fc.record({
  protocol: fc.constantFrom('tcp', 'udp', 'icmp'),
  port: fc.constantFrom(79, 80, 85, 90, 91),
});

test('a connection is let in exactly if the lists of its network and of its service allow it', (t) => {
  const counts = { accept: 0, reject: 0 };
  fc.assert(
    fc.property(worlds, packets, (world, sent) => {
      const set = assignmentsOf(world, SELF);
      const index = new EndpointIndex(set, SELF);
      for (const view of viewsOf(set, selfWith([]))) {
        const { networkId, ingress } = view.network;
        const lists = allowLists(view, index);
        if (ingress) t.deepEqual(lists.objects, [], 'what is published is open');
        if (ingress) continue;
        const endpoints = [...set.endpoints.values()].filter((one) => one.networkId === networkId);
        const objects = [
          ...lists.objects,
          ...endpoints.flatMap((one) => memberObjects(view.network, lists, one)),
        ];
        const here = endpoints.filter(({ taskId }) =>
          ['ready', 'running'].includes(set.tasks.get(taskId)?.desired ?? ''),
        );
        for (const from of endpoints) {
          for (const to of here) {
            const packet = { ...sent, source: from.address };
            const expected = allowed(world, networkId, from, to, packet) ? 'accept' : 'reject';
            for (const family of familiesOf(view.network)) {
              counts[expected] += 1;
              const [source = '', target = ''] = inFamily(family, view.network, [from.address, to.address]);
              const protocol = sent.protocol === 'icmp' ? family.icmp : sent.protocol;
              const own = objects.filter((one) => 'table' in one && one.table === family.table);
              t.is(verdict(own, target, { ...packet, source, protocol }), expected, family.ip);
            }
          }
        }
      }
    }),
    { numRuns: 300 },
  );
  t.true(counts.accept > 100 && counts.reject > 100, JSON.stringify(counts));
});

test('a single container with the name of a service is not let in for it', (t) => {
  const on = { aliases: [], vips: {}, networks: ['n'], meshPorts: [], hostPorts: [] };
  const names = ['app', 'db', 'other'];
  const world: World = {
    peers: [],
    networks: [network('n', 4096, '10.1.1')],
    services: names.map((name) => ({
      ...on,
      name,
      ...(name === 'db' ? { allowFrom: [{ from: ['app'] }] } : {}),
    })),
    tasks: names.map((service, i) => ({
      ...{ taskId: `task-${service}`, service, node: SELF, slot: 1 },
      ...{ addresses: { n: `10.1.1.${i + 2}` }, serving: true, desired: 'running' },
    })),
  };
  const verdicts = (services: AssignmentSet['services']): string[] => {
    const set = { ...assignmentsOf(world, SELF), services };
    const index = new EndpointIndex(set, SELF);
    const [view] = viewsOf(set, selfWith([]));
    if (view === undefined) throw new Error('no view');
    const lists = allowLists(view, index);
    const members = [...set.endpoints.values()].flatMap((one) => memberObjects(view.network, lists, one));
    return ['10.1.1.2', '10.1.1.4'].map((source) =>
      verdict([...lists.objects, ...members], '10.1.1.3', { source, protocol: 'tcp', port: 80 }),
    );
  };
  const rows = [...assignmentsOf(world, SELF).services];
  const named = (name: string) => rows.filter(([, row]) => row.name === name);
  const single = named('other').map(([key, row]) => [key, { ...row, name: 'app', single: true }] as const);
  t.deepEqual(verdicts(new Map([...rows, ...single])), ['accept', 'reject']);
  t.deepEqual(
    verdicts(new Map([...named('db'), ...single])),
    ['reject', 'accept'],
    'where no service has it',
  );
});
