import test from 'ava';
import { newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import { meetsConstraint, parseConstraint } from '../../../manager/plan/constraint.ts';
import type { Node } from '../../../shared/model/index.ts';
import { cluster, GB, specOf } from './_cluster.ts';

function nodeOf(): Node {
  const swarm = cluster().node('abc', {
    role: 'manager',
    labels: { Zone: 'East' },
    description: {
      hostname: 'Host1',
      address: '10.1.2.3',
      arch: 'aarch64',
      engineLabels: { 'gpu.kind': 'x' },
    },
  });
  const node = swarm.store.get('nodes', 'abc');
  if (node === undefined) throw new Error('no node');
  return node;
}

for (const [text, met] of [
  ['node.id==ABC', true],
  ['node.id!=abc', false],
  ['node.hostname == host1', true],
  ['NODE.ROLE==manager', true],
  ['node.role!=worker', true],
  ['node.labels.Zone==east', true],
  ['node.labels.zone==east', false],
  ['node.labels.none!=x', true],
  ['node.labels.none==x', false],
  ['engine.labels.gpu.kind==x', true],
  ['node.platform.os==Linux', true],
  ['node.platform.arch==arm64', true],
  ['node.ip==10.1.2.3', true],
  ['node.ip==10.1.0.0/16', true],
  ['node.ip!=10.2.0.0/16', true],
] as const) {
  test(`constraint ${text} is ${met ? 'met' : 'not met'}`, (t) => {
    t.is(meetsConstraint(nodeOf(), parseConstraint(text)), met);
  });
}

for (const text of [
  '',
  'node.id',
  'node.id=x',
  'node.id==',
  '==x',
  'node.id>3',
  'node.color==red',
  'node.labels.==x',
  'node.ip==ten',
]) {
  test(`constraint "${text}" is refused by name`, (t) => {
    const error = t.throws(() => parseConstraint(text), { instanceOf: TypeError });
    t.true(error?.message.includes(`"${text}"`));
  });
}

test('reservations are never exceeded, and are free again once a task has ended', (t) => {
  const swarm = cluster().nodes(2, { description: { memoryBytes: 4 * GB } });
  swarm.service('web', { replicas: 5, reservations: { memoryBytes: 2 * GB } }).settle();
  t.deepEqual(swarm.spread('web'), { n1: 2, n2: 2, none: 1 });
  swarm
    .service('web', { replicas: 1 })
    .service('db', { replicas: 3, reservations: { memoryBytes: 2 * GB } })
    .settle();
  t.is(swarm.running('db').length, 3);
});

test('two tasks with the same host port never meet on a node', (t) => {
  const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'host' }] as const;
  const swarm = cluster().nodes(2).service('a', { replicas: 3, ports }).settle();
  t.deepEqual(swarm.spread('a'), { n1: 1, n2: 1, none: 1 });
  t.is(swarm.reasons('a')[2], 'no suitable node (host port 80/tcp already in use on 2 nodes)');
});

test('max replicas per node', (t) => {
  const swarm = cluster()
    .nodes(2)
    .service('a', { replicas: 5, placement: { maxReplicasPerNode: 2 } })
    .settle();
  t.deepEqual(swarm.spread('a'), { n1: 2, n2: 2, none: 1 });
});

test('platform', (t) => {
  const swarm = cluster()
    .nodes(1)
    .node('arm', { description: { arch: 'aarch64' } });
  swarm.service('a', { replicas: 2, placement: { platforms: [{ os: 'linux', arch: 'arm64' }] } }).settle();
  t.deepEqual(swarm.spread('a'), { arm: 2 });
});

test('a task of an encrypted network goes where there is WireGuard, and waits where there is none', (t) => {
  const keys = { active: 0, keys: [{ slot: 0, publicKey: 'A'.repeat(43).concat('=') }] } as const;
  const swarm = cluster()
    .nodes(2)
    .network('secret', { driverOptions: { encrypted: '' } })
    .network('open', { driverOptions: { encrypted: 'false' } });
  swarm.service('a', { networks: [{ network: 'secret', aliases: [] }], replicas: 2 });
  swarm.service('b', { networks: [{ network: 'open', aliases: [] }], replicas: 2 }).settle();
  t.deepEqual(swarm.spread('a'), { none: 2 });
  t.deepEqual(swarm.spread('b'), { n1: 1, n2: 1 });
  const reason = 'no suitable node (network secret is encrypted and the kernel has no WireGuard on 2 nodes)';
  t.deepEqual(swarm.reasons('a'), [reason, reason]);
  swarm.node('n2', { description: { tunnelKeys: keys } }).settle();
  t.deepEqual(swarm.spread('a'), { n2: 2 });
});

test('a task whose disk is limited goes where that can be, and waits where it can not', (t) => {
  const swarm = cluster().nodes(2, { description: { knows: newSpecKeys() } });
  const container = { ...specOf('a').container, runtime: { diskBytes: 2 ** 30 } };
  swarm.service('a', { replicas: 2, container });
  swarm.service('b', { replicas: 2 }).settle();
  t.deepEqual(swarm.spread('a'), { none: 2 });
  t.deepEqual(swarm.spread('b'), { n1: 1, n2: 1 });
  const reason = 'no suitable node (its file system can not limit the disks of containers on 2 nodes)';
  t.deepEqual(swarm.reasons('a'), [reason, reason]);
  swarm.node('n2', { description: { knows: newSpecKeys(), limitsDisks: true } }).settle();
  t.deepEqual(swarm.spread('a'), { n2: 2 });
});

test('a task with an AppArmor profile or an SELinux label goes where that is, and waits where it is not', (t) => {
  const description = { knows: newSpecKeys() };
  const swarm = cluster()
    .node('n1', { description })
    .node('n2', { description, confinement: { appArmorProfiles: ['other'] } })
    .node('n3', { description: { knows: [] } });
  const { container } = specOf('x');
  swarm.service('a', { container: { ...container, runtime: { appArmorProfile: 'web' } } });
  swarm.service('b', { container: { ...container, selinux: { type: 'web_t', level: 's0:c1' } } }).settle();
  t.deepEqual(swarm.reasons('a'), [
    'no suitable node (AppArmor profile web is not loaded on 1 node; ' +
      'Shoal 0.1.0 does not know container.runtime.appArmorProfile on 1 node; no AppArmor (profile web is asked for) on 1 node)',
  ]);
  t.deepEqual(swarm.reasons('b'), [
    'no suitable node (no SELinux (label=type:web_t, label=level:s0:c1 is asked for) on 2 nodes; ' +
      'Shoal 0.1.0 does not know container.selinux on 1 node)',
  ]);
  swarm.node('n2', { description, confinement: { appArmorProfiles: ['other', 'web'] } });
  swarm.node('n1', { description, confinement: { selinux: true } }).settle();
  t.deepEqual(swarm.spread('a'), { n2: 1 });
  t.deepEqual(swarm.spread('b'), { n1: 1 });
});

test('a task of a network outside of Shoal goes where its node can be on it, and waits where none can', (t) => {
  const driverOptions = { parent: 'eth1.50' };
  const swarm = cluster()
    .nodes(2)
    .network('lan', { driver: 'macvlan', driverOptions, subnet: '10.77.0.0/24' });
  swarm.service('a', { networks: [{ network: 'lan', aliases: [] }], replicas: 2 });
  swarm.node('n2', { drivers: { macvlanParents: ['eth0'] } }).settle();
  t.deepEqual(swarm.spread('a'), { none: 2 });
  const reason =
    'no suitable node (network lan: no device eth1 on 1 node; network lan: the kernel has no macvlan on 1 node)';
  t.deepEqual(swarm.reasons('a'), [reason, reason]);
  swarm.node('n2', { drivers: { macvlanParents: ['eth0', 'eth1'] } }).settle();
  t.deepEqual(swarm.spread('a'), { n2: 2 });
});

test('an emptier node is preferred among those with as many of the service', (t) => {
  const swarm = cluster().nodes(1).service('old', { replicas: 3 }).settle();
  swarm.nodes(1).service('new').settle();
  t.deepEqual(swarm.spread('new'), { n2: 1 });
});

test('spread over the values of an attribute, then of one below it', (t) => {
  const swarm = cluster();
  for (const [zone, rack, count] of [
    ['a', '1', 1],
    ['a', '2', 3],
    ['b', '1', 1],
  ] as const) {
    swarm.nodes(count, { labels: { zone, rack } });
  }
  swarm
    .service('web', { replicas: 8, placement: { spread: ['node.labels.zone', 'node.labels.rack'] } })
    .settle();
  const counts = swarm.spread('web');
  t.is(counts['n5'], 4, 'zone b has one node and half of the tasks');
  t.is(counts['n1'], 2, 'rack a/1 has one node and half of its zone');
});

test('a node on which the service keeps failing is the last choice', (t) => {
  const swarm = cluster().nodes(1).service('web').settle();
  for (let i = 0; i < 5; i += 1) {
    swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(6000);
  }
  // n1 has fewer tasks in all than n2, and would be chosen but for its failures.
  swarm
    .nodes(1)
    .service('pad', { replicas: 6, constraints: ['node.id==n2'] })
    .settle();
  swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(6000);
  t.deepEqual(swarm.spread('web'), { n2: 1 });
});

test('a few tasks on very many nodes land on different ones', (t) => {
  const swarm = cluster()
    .nodes(600, { labels: { zone: 'a' } })
    .nodes(600);
  swarm.service('web', { replicas: 20, constraints: ['node.labels.zone==a'] }).settle();
  t.is(Object.keys(swarm.spread('web')).length, 20);
  t.true(swarm.running('web').every(({ nodeId }) => Number(nodeId?.slice(1)) <= 600));
});

test('many tasks on many nodes: one each', (t) => {
  const swarm = cluster().nodes(300).service('web', { replicas: 300 });
  swarm.plan();
  t.is(Object.keys(swarm.spread('web')).length, 300);
});

test('packed: the fullest node that has room, whatever the service has there already', (t) => {
  const size = { reservations: { memoryBytes: 2 * GB, nanoCpus: 1e9 } };
  const swarm = cluster().nodes(3);
  swarm.service('pinned', { ...size, constraints: ['node.id==n2'] }).settle();
  const binpack = { placement: { strategy: 'binpack' as const } };
  swarm.service('web', { ...size, ...binpack, replicas: 5 }).settle();
  const counts = Object.values(swarm.spread('web')).sort();
  t.is(swarm.spread('web')['n2'], 3);
  t.deepEqual(counts, [2, 3]);
});

test('affinity: only where a task of the other service is, or anywhere but there', (t) => {
  const rule = (kind: 'with' | 'apart', hard = true) => ({
    placement: { affinities: [{ service: 'db', kind, hard }] },
  });
  const swarm = cluster()
    .nodes(4)
    .service('near', { ...rule('with'), replicas: 2 })
    .settle();
  t.regex(swarm.reasons('near')[0] ?? '', /no task of service db on 4 nodes/);
  swarm.service('db', { constraints: ['node.id==n3'] }).settle();
  t.deepEqual(swarm.spread('near'), { n3: 2 });
  swarm.service('far', { ...rule('apart'), replicas: 6 }).settle();
  t.deepEqual(swarm.spread('far'), { n1: 2, n2: 2, n4: 2 });
  swarm.service('rather', { ...rule('with', false), replicas: 2 }).settle();
  t.deepEqual(swarm.spread('rather'), { n3: 2 });
  swarm.service('hardly', { ...rule('apart', false), replicas: 3, constraints: ['node.id==n3'] }).settle();
  t.deepEqual(swarm.spread('hardly'), { n3: 3 });
});

test('affinity within one plan, and by the short name within a stack', (t) => {
  const stack = { 'com.docker.stack.namespace': 'shop' };
  const apart = { placement: { affinities: [{ service: 'a', kind: 'apart' as const, hard: true }] } };
  const swarm = cluster().nodes(2);
  swarm.service('shop_a', { labels: stack }).service('a', { replicas: 2 });
  swarm.service('shop_b', { ...apart, labels: stack }).plan();
  const [a] = swarm.wanted('shop_a');
  const [b] = swarm.wanted('shop_b');
  t.truthy(b?.nodeId);
  t.not(a?.nodeId, b?.nodeId);
});
