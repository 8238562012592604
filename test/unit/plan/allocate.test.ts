import test from 'ava';
import { AddressBook } from '../../../manager/plan/allocate/addresses.ts';
import { INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import type { PublishedPort } from '../../../shared/model/index.ts';
import { cluster } from './_cluster.ts';

function port(publishedPort: number, more: Partial<PublishedPort> = {}): PublishedPort {
  return { protocol: 'tcp', targetPort: 80, publishedPort, mode: 'ingress', ...more };
}

const front = [{ network: 'front', aliases: [] }];

test('ingress is there from the start', (t) => {
  const swarm = cluster().nodes(1).settle();
  const ingress = swarm.getNetwork(INGRESS_NETWORK_ID);
  t.is(ingress?.spec.name, 'ingress');
  t.deepEqual(ingress?.allocation, { subnet: '10.255.0.0/16', gateway: '10.255.0.1', vni: 4096 });
  t.deepEqual(swarm.store.get('names', 'network:ingress'), { id: INGRESS_NETWORK_ID });
});

test('ingress has IPv6 as soon as the agents of all nodes know of it, and what it had stays', (t) => {
  const swarm = cluster()
    .node('n1', { description: { ipv6: true } })
    .node('n2')
    .settle();
  const before = swarm.getNetwork(INGRESS_NETWORK_ID)?.allocation;
  t.is(before?.subnet6, undefined, 'n2 says nothing of it');
  swarm.node('n2', { description: { ipv6: false } }).settle();
  const { subnet6 = '', ...rest } = swarm.getNetwork(INGRESS_NETWORK_ID)?.allocation ?? fail();
  t.regex(subnet6, /^fd[0-9a-f:]+:1000::\/64$/);
  t.deepEqual(rest, before);
  swarm.node('n3').settle();
  t.is(swarm.getNetwork(INGRESS_NETWORK_ID)?.allocation?.subnet6, subnet6, 'it is not taken away');
});

function fail(): never {
  throw new Error('no allocation');
}

test('ingress makes way for the hosts', (t) => {
  const swarm = cluster()
    .node('n1', { description: { address: '10.255.0.7' } })
    .settle();
  t.is(swarm.getNetwork(INGRESS_NETWORK_ID)?.allocation?.subnet, '10.254.0.0/16');
});

test('subnets are given in turn, skip what is in use, and rest when freed', (t) => {
  const swarm = cluster({ addressPool: '10.0.0.0/22' }).node('n1', { description: { address: '10.0.1.5' } });
  swarm.network('a').network('b').settle();
  t.is(swarm.getNetwork('a')?.allocation?.subnet, '10.0.0.0/24');
  t.is(swarm.getNetwork('b')?.allocation?.subnet, '10.0.2.0/24');
  swarm.put('networks', 'a', null).network('c').settle();
  t.is(swarm.getNetwork('c')?.allocation?.subnet, '10.0.3.0/24');
  swarm.network('d').settle();
  t.is(swarm.getNetwork('d')?.allocation?.subnet, '10.0.0.0/24', 'the pool is gone round');
  swarm.network('e').settle();
  t.is(swarm.getNetwork('e')?.error, 'no free subnet in 10.0.0.0/22');
  swarm.put('networks', 'b', null).settle();
  t.is(swarm.getNetwork('e')?.allocation?.subnet, '10.0.2.0/24');
  t.is(swarm.getNetwork('e')?.error, undefined);
});

test('tunnel numbers are unique', (t) => {
  const swarm = cluster().nodes(1);
  for (const id of ['a', 'b', 'c']) swarm.network(id);
  swarm.settle();
  const vnis = [...swarm.store.all('networks').values()].map(({ allocation }) => allocation?.vni);
  t.is(new Set(vnis).size, 4);
});

for (const [subnet, gateway, error] of [
  ['172.30.0.0/16', undefined, undefined],
  ['10.255.3.0/24', undefined, 'subnet 10.255.3.0/24 overlaps with network ingress'],
  ['192.168.0.0/24', undefined, 'subnet 192.168.0.0/24 overlaps with the address of node n1'],
  ['172.30.0.0/31', undefined, 'subnet 172.30.0.0/31 is too small'],
  ['172.30.0.0/24', '172.31.0.1', 'gateway 172.31.0.1 is not inside of subnet 172.30.0.0/24'],
  ['nonsense', undefined, 'not an IPv4 CIDR: nonsense'],
] as const) {
  test(`a given subnet ${subnet}: ${error ?? 'taken'}`, (t) => {
    const swarm = cluster().nodes(1).settle();
    swarm.network('x', gateway === undefined ? { subnet } : { subnet, gateway }).settle();
    t.is(swarm.getNetwork('x')?.error, error);
    t.is(swarm.getNetwork('x')?.allocation?.subnet, error === undefined ? subnet : undefined);
  });
}

test('a network outside of Shoal has the subnet that is there, and gives nobody the address of a node', (t) => {
  const swarm = cluster().nodes(1).settle();
  const outside = { driver: 'macvlan', driverOptions: { parent: 'eth1' } } as const;
  const own = swarm.store.get('nodes', 'n1')?.description?.address ?? '';
  const node = own.replace(/\.\d+$/, '');
  swarm.network('lan', { ...outside, subnet: `${node}.0/29`, gateway: `${node}.6` });
  swarm.network('same', { ...outside, subnet: `${node}.0/24` }).settle();
  t.is(swarm.getNetwork('lan')?.allocation?.subnet, `${node}.0/29`);
  t.is(swarm.getNetwork('same')?.error, `subnet ${node}.0/24 overlaps with network lan`);
  const book = new AddressBook(swarm.view());
  const given = Array.from({ length: 6 }, () => book.take('lan')).filter((one) => one !== undefined);
  t.is(given.length, 4, 'eight, less both ends, the gateway, and the node');
  t.false(given.includes(own));
});

test('IPv6 subnets: of the cluster’s range, one after the other, or as given; none on what has no IPv6', (t) => {
  const swarm = cluster().nodes(1).settle();
  const of = (id: string): string => swarm.getNetwork(id)?.allocation?.subnet6 ?? '';
  swarm.network('a', { ipv6: true }).network('b', { ipv6: true }).network('plain').settle();
  const [a, b] = [of('a'), of('b')];
  t.regex(a, /^fd[0-9a-f:]+::\/64$/);
  t.is(b.slice(0, 14), a.slice(0, 14), 'the same forty bits');
  t.not(a, b);
  t.is(of('plain'), '');
  swarm.network('given', { ipv6: true, subnet6: 'FD00:0009::7/64' }).settle();
  t.is(of('given'), 'fd00:9::/64');
  swarm.put('networks', 'b', null).network('c', { ipv6: true }).settle();
  t.false([a, b].includes(of('c')), 'a freed one rests');
  for (const [subnet6, error] of [
    ['fd00:9::/80', 'subnet fd00:9::/80 overlaps with network given'],
    [a, `subnet ${a} overlaps with network a`],
    ['fd00:77::/64', 'subnet fd00:77::/64 overlaps with fd00:77::/48, which node n9 reaches without Shoal'],
    [
      'fd00:8::/121',
      'subnet fd00:8::/121 is smaller than 172.30.0.0/16: each IPv4 address has an IPv6 one in it',
    ],
    ['fe80::/64', 'subnet fe80::/64: fe80::/10 can not be used: link-local addresses are not routed'],
  ] as const) {
    swarm.node('n9', { description: { hostname: 'n9', localSubnets: ['fd00:77::/48'] } });
    swarm.network('x', { subnet: '172.30.0.0/16', ipv6: true, subnet6 }).settle();
    t.is(swarm.getNetwork('x')?.error, error);
    t.is(swarm.getNetwork('x')?.allocation, undefined);
    swarm.put('networks', 'x', null).settle();
  }
});

test('a service has one address a network; its tasks too, the spec order first, then ingress', (t) => {
  const swarm = cluster().nodes(2).network('front').network('back');
  swarm
    .service('web', {
      replicas: 3,
      ports: [port(8080)],
      networks: [{ network: 'back', aliases: [] }, ...front],
    })
    .settle();
  const order = ['back', 'front', INGRESS_NETWORK_ID];
  t.deepEqual(
    swarm.get('web').endpoint?.vips.map(({ network }) => network),
    order,
  );
  const all = swarm.get('web').endpoint?.vips.map(({ address }) => address) ?? [];
  for (const { addresses } of swarm.running('web')) {
    t.deepEqual(
      addresses.map(({ network }) => network),
      order,
    );
    all.push(...addresses.map(({ address }) => address));
  }
  t.is(new Set(all).size, 12);
});

test('dnsrr has no virtual address', (t) => {
  const swarm = cluster()
    .nodes(1)
    .network('front')
    .service('web', { endpointMode: 'dnsrr', networks: front })
    .settle();
  t.deepEqual(swarm.get('web').endpoint?.vips ?? [], []);
  t.is(swarm.running('web')[0]?.addresses.length, 1);
});

test('a service without networks and ports has no endpoint', (t) => {
  t.is(cluster().nodes(1).service('web').settle().get('web').endpoint, undefined);
});

test('a freed address rests until the others have been used', (t) => {
  const swarm = cluster({ taskHistoryLimit: 0 }).nodes(1).network('front', { subnet: '10.9.0.0/28' });
  swarm.service('web', { networks: front, endpointMode: 'dnsrr' }).settle();
  const seen: (string | undefined)[] = [];
  for (let i = 0; i < 13; i += 1) {
    seen.push(swarm.running('web')[0]?.addresses[0]?.address);
    swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(40_000);
  }
  t.is(new Set(seen).size, 13);
});

test('several subnets: the next one when one is full, and freed addresses rest until all have been used', (t) => {
  const swarm = cluster({ taskHistoryLimit: 0 })
    .nodes(1)
    .network('front', {
      subnet: '10.9.0.0/29',
      moreSubnets: [{ subnet: '10.8.0.0/29', gateway: '10.8.0.6' }, { subnet: '172.30.0.0/29' }],
    });
  swarm.service('web', { replicas: 16, networks: front, endpointMode: 'dnsrr' }).settle();
  t.deepEqual(swarm.getNetwork('front')?.allocation?.moreSubnets, [
    { subnet: '10.8.0.0/29', gateway: '10.8.0.6' },
    { subnet: '172.30.0.0/29', gateway: '172.30.0.1' },
  ]);
  const held = swarm.running('web').map(({ addresses }) => addresses[0]?.address ?? '');
  const range = (start: string, from: number): string[] =>
    Array.from({ length: 5 }, (_, i) => `${start}.${from + i}`);
  t.deepEqual(
    held.toSorted(),
    [...range('10.8.0', 1), ...range('10.9.0', 2), ...range('172.30.0', 2)].toSorted(),
  );
  t.deepEqual(
    swarm.reasons('web').filter((reason) => reason !== undefined),
    ['no free address on network front'],
  );
  swarm.service('web', { replicas: 1 }).settle();
  const seen = new Set<string | undefined>();
  for (let i = 0; i < 14; i += 1) {
    seen.add(swarm.running('web')[0]?.addresses[0]?.address);
    swarm.report(swarm.running('web')[0]?.id ?? '', 'failed').elapse(40_000);
  }
  t.is(seen.size, 14);
});

for (const [second, error] of [
  ['10.255.3.0/24', 'subnet 10.255.3.0/24 overlaps with network ingress'],
  ['172.30.0.64/26', 'subnet 172.30.0.64/26 overlaps with subnet 172.30.0.0/24 of the same network'],
  ['172.29.0.0/24', 'subnet 172.29.0.0/24 overlaps with network old'],
] as const) {
  test(`a second subnet ${second}: all or nothing, and with whom it overlaps`, (t) => {
    const swarm = cluster().nodes(1).settle();
    swarm.network('old', { subnet: '172.31.0.0/24', moreSubnets: [{ subnet: '172.29.0.0/16' }] }).settle();
    swarm.network('x', { subnet: '172.30.0.0/24', moreSubnets: [{ subnet: second }] }).settle();
    t.is(swarm.getNetwork('x')?.error, error);
    t.is(swarm.getNetwork('x')?.allocation, undefined);
  });
}

test('addresses come out of the range alone, and never is one given that is reserved', (t) => {
  const swarm = cluster({ taskHistoryLimit: 0 })
    .nodes(1)
    .network('front', {
      subnet: '10.9.0.0/24',
      gateway: '10.9.0.9',
      addressRange: '10.9.0.8/29',
      reservedAddresses: { router: '10.9.0.12', elsewhere: '10.9.0.100' },
    });
  swarm.service('web', { replicas: 7, networks: front, endpointMode: 'dnsrr' }).settle();
  t.is(swarm.getNetwork('front')?.allocation?.gateway, '10.9.0.9');
  t.deepEqual(
    swarm
      .running('web')
      .map(({ addresses }) => addresses[0]?.address ?? '')
      .toSorted(),
    ['10.9.0.10', '10.9.0.11', '10.9.0.13', '10.9.0.14', '10.9.0.15', '10.9.0.8'],
  );
  t.deepEqual(
    swarm.reasons('web').filter((reason) => reason !== undefined),
    ['no free address on network front'],
  );
  swarm.service('web', { replicas: 6 }).settle();
  const [victim] = swarm.running('web');
  const freed = victim?.addresses[0]?.address;
  swarm.report(victim?.id ?? '', 'failed').elapse(40_000);
  t.true(
    swarm.running('web').some(({ addresses }) => addresses[0]?.address === freed),
    'the only one that is left is given again',
  );
});

test('a service has the virtual address that it asks for, outside of the range too, and its tasks have others', (t) => {
  const swarm = cluster().nodes(1).network('front', { subnet: '10.9.0.0/24', addressRange: '10.9.0.128/25' });
  const at = (address: string) => [{ network: 'front', aliases: [], address }];
  const vip = (id: string) => swarm.get(id).endpoint?.vips[0]?.address;
  swarm.service('web', { replicas: 2, networks: at('10.9.0.7') }).settle();
  t.is(vip('web'), '10.9.0.7');
  const own = swarm.running('web').map(({ addresses }) => addresses[0]?.address);
  t.deepEqual(own, ['10.9.0.129', '10.9.0.128'].toSorted());
  swarm.service('other', { networks: at('10.9.0.7') }).settle();
  t.is(swarm.reasons('other')[0], 'address 10.9.0.7 on network front can not be had: it is in use');
  swarm.service('other', { networks: at('10.9.0.8') }).settle();
  t.is(vip('other'), '10.9.0.8');
  const before = swarm.running('web').map(({ id }) => id);
  swarm.service('web', { networks: at('10.9.0.9') }).settle();
  t.is(vip('web'), '10.9.0.9');
  t.deepEqual(
    swarm.running('web').map(({ id }) => id),
    before,
    'its tasks stay: the address is none of theirs',
  );
  swarm.service('other', { networks: at('10.9.0.128') }).settle();
  t.is(vip('other'), '10.9.0.8', 'a task has it: the service keeps what it has');
});

test('a full network makes tasks wait, and says so', (t) => {
  const swarm = cluster().nodes(1).network('front', { subnet: '10.9.0.0/29' });
  swarm.service('web', { replicas: 5, networks: front }).settle();
  t.is(swarm.running('web').length, 4);
  t.is(swarm.reasons('web')[4], 'no free address on network front');
  swarm.service('web', { replicas: 4 }).settle();
  t.is(swarm.plan().writes.length, 0);
});

test('a network that does not exist or has no subnet makes tasks wait', (t) => {
  const swarm = cluster().nodes(1).service('web', { networks: front }).settle();
  t.is(swarm.reasons('web')[0], 'network front not found');
  swarm.network('front', { subnet: '10.255.0.0/24' }).settle();
  t.regex(swarm.reasons('web')[0] ?? '', /^network front has no subnet: subnet .* overlaps/);
  swarm.network('front').settle();
  t.is(swarm.running('web').length, 1);
});

test('a dynamic port is chosen once and kept', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('a', { ports: [port(0), port(0, { targetPort: 81 })] })
    .settle();
  swarm.service('b', { ports: [port(0)] }).settle();
  t.deepEqual(
    swarm.get('a').endpoint?.ports.map(({ publishedPort }) => publishedPort),
    [30_000, 30_001],
  );
  t.is(swarm.get('b').endpoint?.ports[0]?.publishedPort, 30_002);
  swarm.service('a', { ports: [port(0, { targetPort: 81 }), port(0, { protocol: 'udp' })] }).settle();
  t.deepEqual(
    swarm.get('a').endpoint?.ports.map(({ publishedPort }) => publishedPort),
    [30_001, 30_003],
  );
});

test('a dynamic port on several addresses has one number, as Docker has it, and keeps it', (t) => {
  const at = (hostIp: string, more: Partial<PublishedPort> = {}) => port(0, { hostIp, ...more });
  const swarm = cluster().nodes(1);
  const numbers = (ports: PublishedPort[]): (number | undefined)[] => {
    swarm.service('a', { ports }).settle();
    return swarm.get('a').endpoint?.ports.map(({ publishedPort }) => publishedPort) ?? [];
  };
  t.deepEqual(numbers([at('127.0.0.1'), at('::1'), at('::1', { targetPort: 81 })]), [30_000, 30_000, 30_001]);
  t.deepEqual(numbers([at('::1'), at('127.0.0.1'), at('127.0.0.1')]), [30_000, 30_000, 30_002], 'not twice');
  t.deepEqual(
    numbers([port(30_003), at('::1'), port(0)]),
    [30_003, 30_000, 30_002],
    'one on all addresses is no sibling',
  );
});

test('a published port on different addresses may belong to different services', (t) => {
  const swarm = cluster().nodes(1);
  const service = (name: string, hostIp?: string): string | undefined => {
    swarm.now += 1;
    swarm.service(name, { ports: [port(80, hostIp === undefined ? {} : { hostIp })] }).settle();
    return swarm.reasons(name)[0];
  };
  t.is(service('a', '127.0.0.1'), undefined);
  t.is(service('b', '::'), undefined);
  t.is(service('c', '192.0.2.1'), undefined);
  t.is(service('d', '127.0.0.1'), 'port 127.0.0.1:80/tcp is already published by service a');
  t.is(service('e', '::1'), 'port [::1]:80/tcp is already published by service b as [::]:80/tcp');
  t.is(service('f', '0.0.0.0'), 'port 0.0.0.0:80/tcp is already published by service a as 127.0.0.1:80/tcp');
  t.is(service('g'), 'port 80/tcp is already published by service a as 127.0.0.1:80/tcp');
  swarm.service('a', { ports: [] }).service('c', { ports: [] }).settle();
  t.deepEqual(swarm.reasons('d'), [undefined]);
});

test('a published port belongs to one service; the other waits until it is free', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('first', { ports: [port(80)] })
    .settle();
  swarm.now += 1;
  swarm.service('second', { ports: [port(80)] }).settle();
  t.is(swarm.reasons('second')[0], 'port 80/tcp is already published by service first');
  t.is(swarm.get('second').endpoint, undefined);
  swarm.service('third', { ports: [port(80, { protocol: 'udp' })] }).settle();
  t.is(swarm.running('third').length, 1);
  swarm.removeService('first').settle();
  t.is(swarm.running('second').length, 1);
});

test('host ports are no mesh ports', (t) => {
  const swarm = cluster()
    .nodes(1)
    .service('a', { ports: [port(80, { mode: 'host' })] })
    .settle();
  swarm.service('b', { ports: [port(80)] }).settle();
  t.is(swarm.running('b').length, 1, 'the same number on the mesh is free');
  const networks = swarm.running('a').map((task) => task.addresses.map(({ network }) => network));
  t.deepEqual(networks, [[INGRESS_NETWORK_ID]], 'the host leads to a task without networks through ingress');
});

test('networks keep clear of what a node reaches without Shoal', (t) => {
  const localSubnets = ['10.255.255.53/32', '10.0.0.0/23'];
  const swarm = cluster({ addressPool: '10.0.0.0/22' }).node('n1', { description: { localSubnets } });
  swarm.network('a').settle();
  t.is(swarm.getNetwork(INGRESS_NETWORK_ID)?.allocation?.subnet, '10.254.0.0/16');
  t.is(swarm.getNetwork('a')?.allocation?.subnet, '10.0.2.0/24');
  swarm.network('b', { subnet: '10.0.1.0/24' }).settle();
  t.regex(swarm.getNetwork('b')?.error ?? '', /10\.0\.0\.0\/23, which node n1 reaches without Shoal/);
});

test('no network is given before a node has said which addresses are its own', (t) => {
  const swarm = cluster().network('a').settle();
  t.is(swarm.getNetwork('a')?.allocation, undefined);
  swarm.nodes(1).settle();
  t.not(swarm.getNetwork('a')?.allocation, undefined);
});
