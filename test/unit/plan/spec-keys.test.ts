/** A node of an older version gets no task that it would run without a part of it. */
import test from 'ava';
import fc from 'fast-check';
import { BASE_KEYS } from '../../../shared/wire/base-spec-keys.ts';
import { newKeysOf, newKeysOfNetwork, newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import type { Network, NetworkSpec, RuntimeOptions } from '../../../shared/model/index.ts';
import { cluster, specOf, type SpecChanges } from './_cluster.ts';

function having(runtime: RuntimeOptions): SpecChanges {
  return { container: { ...specOf('x').container, runtime } };
}

test('what every version knows is known, and what is new is found in the schema by itself, values too', (t) => {
  const all = new Set(newSpecKeys(new Set()));
  t.deepEqual(
    [...BASE_KEYS].filter((key) => !all.has(key)),
    [],
    'a key was taken away: older managers still send it',
  );
  t.true(BASE_KEYS.has('mode.kind=cron'));
  t.true(BASE_KEYS.has('container.mounts.kind=tmpfs'));
  t.true(newSpecKeys().includes('container.runtime.pidOf'));
  t.deepEqual(newSpecKeys(all), []);
});

test('of a spec only what it uses counts', (t) => {
  t.deepEqual(newKeysOf(specOf('plain', { labels: { pidOf: 'x' } })), []);
  t.deepEqual(newKeysOf(specOf('x', having({ privileged: true, network: 'host' }))), []);
  const shared = specOf('x', having({ networkOf: 'c1', ipcOf: 'c1' }));
  t.deepEqual(newKeysOf(shared).toSorted(), ['container.runtime.ipcOf', 'container.runtime.networkOf']);
});

test('it waits for a node that knows what it uses, and says for what; all else runs anywhere', (t) => {
  const swarm = cluster()
    .nodes(2, { description: { engineVersion: '0.0.9', knows: [] } })
    .service('plain')
    .service('sharing', having({ pidOf: 'c1' }))
    .settle();
  t.is(swarm.running('plain').length, 1);
  t.is(swarm.running('sharing').length, 0);
  t.regex(
    String(swarm.reasons('sharing')),
    /Shoal 0\.0\.9 does not know container\.runtime\.pidOf on 2 nodes/,
  );
  swarm.node('n2', { description: { engineVersion: '0.1.0', knows: newSpecKeys() } }).settle();
  t.deepEqual(
    swarm.running('sharing').map(({ nodeId }) => nodeId),
    ['n2'],
  );
});

const TUNNEL_KEYS = { active: 0, keys: [{ slot: 0, publicKey: 'k' }] } as const;
const ALLOCATION = { subnet: '10.5.0.0/24', gateway: '10.5.0.1', vni: 4097 };
const NETWORK: Network = {
  id: 'n',
  createdAtMs: 1,
  spec: {
    name: 'front',
    labels: {},
    driver: 'overlay',
    internal: false,
    attachable: true,
    ingress: false,
    driverOptions: {},
  },
  allocation: ALLOCATION,
};

type Allocation = NonNullable<Network['allocation']>;

/** What a network may have that older nodes would leave out, by the key that says so. */
const NETWORK_PARTS: readonly (readonly [
  string,
  { spec?: Partial<NetworkSpec>; allocation?: Partial<Allocation> },
])[] = [
  ['network.encrypted', { spec: { driverOptions: { encrypted: '' } } }],
  ['network.mtu', { spec: { driverOptions: { 'com.docker.network.driver.mtu': '1400' } } }],
  [
    'network.isolated',
    { spec: { driver: 'bridge', driverOptions: { 'com.docker.network.bridge.enable_icc': 'false' } } },
  ],
  ['network.allow', { spec: { labels: { 'shoal.allow': 'a>b:80' } } }],
  ['network.subnet6', { spec: { ipv6: true }, allocation: { subnet6: 'fd00:1::/64' } }],
  ['network.moreSubnets', { allocation: { moreSubnets: [{ subnet: '10.6.0.0/24', gateway: '10.6.0.1' }] } }],
  ['network.local', { spec: { driver: 'bridge' } }],
  ['network.outside.kind=macvlan', { spec: { driver: 'macvlan', driverOptions: { parent: 'eth1' } } }],
  ['network.outside.kind=plugin', { spec: { driver: 'plugin', plugin: 'weave' } }],
];

function networkWith(...parts: readonly (typeof NETWORK_PARTS)[number][]): Network {
  return parts.reduce<Network>(
    (network, [, { spec = {}, allocation = {} }]) => ({
      ...network,
      spec: {
        ...network.spec,
        ...spec,
        driverOptions: { ...network.spec.driverOptions, ...spec.driverOptions },
      },
      allocation: { ...ALLOCATION, ...network.allocation, ...allocation },
    }),
    NETWORK,
  );
}

test('what a network uses is known by its keys, and a plain one runs anywhere', (t) => {
  t.deepEqual(newKeysOfNetwork(NETWORK), []);
  const { allocation: _none, ...unallocated } = networkWith(...NETWORK_PARTS);
  t.deepEqual(newKeysOfNetwork(unallocated), []);
  const all = newSpecKeys();
  for (const part of NETWORK_PARTS) {
    const keys = newKeysOfNetwork(networkWith(part));
    t.true(keys.includes(part[0]), `${part[0]}: ${keys.join()}`);
    t.true(keys.every((key) => all.includes(key)));
  }
});

test('addresses of published ports and labels that nodes heed are keys, too', (t) => {
  const keys = (...hostIps: string[]): readonly string[] =>
    newKeysOf(
      specOf('x', {
        ports: hostIps.map((hostIp) => ({
          protocol: 'tcp',
          targetPort: 80,
          publishedPort: 80,
          mode: 'host',
          hostIp,
        })),
      }),
    );
  t.deepEqual(keys('127.0.0.1', '192.0.2.7'), []);
  t.deepEqual(keys('0.0.0.0'), ['ports.hostIp=0.0.0.0']);
  t.deepEqual(keys('::1', '2001:db8::1'), ['ports.hostIp=IPv6']);
  t.deepEqual(newKeysOf(specOf('x', { labels: { 'shoal.allow-from': 'web' } })), ['labels.shoal.allow-from']);
  const labelled = { ...specOf('x').container, labels: { 'shoal.bandwidth-in': '1mbit' } };
  t.deepEqual(newKeysOf(specOf('x', { container: labelled })), ['container.labels.shoal.bandwidth-in']);
});

test('whatever of it nodes know, none gets a task of a network or port that it does not know whole', (t) => {
  const all = newSpecKeys();
  const ofOverlays = NETWORK_PARTS.filter(([, { spec }]) => spec !== undefined && spec.driver === undefined);
  const hostIp = fc.constantFrom(undefined, '127.0.0.1', '0.0.0.0', '::', '::1');
  const nodes = fc.array(fc.subarray(all, { minLength: all.length - 3 }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(nodes, fc.subarray(ofOverlays), hostIp, fc.boolean(), (known, parts, at, host) => {
      const swarm = cluster();
      for (const [i, knows] of known.entries())
        swarm.node(`n${i}`, { description: { engineVersion: '0.0.9', knows, tunnelKeys: TUNNEL_KEYS } });
      const port = {
        protocol: 'tcp',
        targetPort: 80,
        publishedPort: 80,
        mode: host ? 'host' : 'ingress',
      } as const;
      const ports = [at === undefined ? port : { ...port, hostIp: at }];
      swarm.network('front', networkWith(...parts).spec).settle();
      swarm.service('a', { networks: [{ network: 'front', aliases: [] }], ports }).settle();
      const network = swarm.store.get('networks', 'front');
      const used = [
        ...newKeysOf(specOf('a', { ports })),
        ...(network === undefined ? [] : newKeysOfNetwork(network)),
      ];
      t.true(parts.every(([key]) => used.includes(key)));
      const able = known.flatMap((knows, i) => (used.every((key) => knows.includes(key)) ? [`n${i}`] : []));
      const [nodeId = ''] = swarm.running('a').map((task) => task.nodeId);
      if (able.length > 0) t.true(able.includes(nodeId));
      else {
        t.is(nodeId, '');
        t.regex(String(swarm.reasons('a')), /Shoal 0\.0\.9 does not know \S+( of network front)? on \d node/);
      }
    }),
    { numRuns: 200 },
  );
});
