/** docker network connect and disconnect: what is stored, what the node is asked, and what is refused. */
import test from 'ava';
import type { TaskAddress } from '../../../shared/model/index.ts';
import { ConflictError } from '../../../shared/errors/index.ts';
import { Cluster } from './container-cluster.ts';
import type { Json } from './fixture.ts';
import { containerInfo } from './samples.ts';

interface Asked {
  readonly taskId: string;
  readonly addresses: readonly TaskAddress[];
}

/** With networks `front`, `back` and `closed`; `asked` has what nodes were to settle. */
async function up(): Promise<{ cluster: Cluster; asked: Asked[]; refuse: (why?: string) => void }> {
  const cluster = await Cluster.up();
  const asked: Asked[] = [];
  let reason: string | undefined;
  for (const node of cluster.api.nodes.values())
    node.answers.set('network.settled', (params: Asked) => {
      asked.push(params);
      if (reason !== undefined) throw new ConflictError(reason);
      return {};
    });
  for (const [name, subnet] of [
    ['front', '10.20.0.0/28'],
    ['back', '10.21.0.0/28'],
  ])
    await cluster.post('/networks/create', {
      Name: name,
      Driver: 'overlay',
      Attachable: true,
      IPAM: { Config: [{ Subnet: subnet }] },
    });
  await cluster.post('/networks/create', { Name: 'closed', Driver: 'overlay' });
  return { cluster, asked, refuse: (why) => (reason = why) };
}

async function networks({ api }: Cluster, name = 'web'): Promise<Record<string, Json>> {
  return (await api.get(`/containers/${name}/json`)).NetworkSettings.Networks;
}

function join({ api }: Cluster, network: string, endpoint: object = {}, container = 'web') {
  return api.send('POST', `/networks/${network}/connect`, { Container: container, EndpointConfig: endpoint });
}

function leave({ api }: Cluster, network: string, more: object = {}, container = 'web') {
  return api.send('POST', `/networks/${network}/disconnect`, { Container: container, ...more });
}

test('a running container joins and leaves networks: interfaces keep their numbers, the node confirms', async (t) => {
  const { cluster, asked } = await up();
  await using _ = cluster;
  const id = await cluster.create('web', { HostConfig: { NetworkMode: 'front' } });
  await cluster.post('/containers/web/start');
  const [task] = cluster.api.store.all('tasks').values();
  const addresses = () => cluster.api.store.get('tasks', task?.id ?? '')?.addresses ?? [];
  const [front] = addresses();
  const endpoint = { Aliases: ['www'], Links: ['db:store'], MacAddress: '02-00-00-00-00-07' };
  t.is((await join(cluster, 'back', endpoint)).status, 200);
  t.deepEqual(
    addresses().map(({ device }) => device),
    [0, 1],
  );
  t.is(addresses()[0]?.address, front?.address);
  t.deepEqual(
    asked.at(-1)?.addresses,
    addresses().map(({ network, address }) => ({ network, address })),
  );
  t.like((await networks(cluster))['back'], {
    Aliases: ['www'],
    IPAddress: addresses()[1]?.address,
    MacAddress: '02:00:00:00:00:07',
    Links: ['db:store'],
  });
  const users = (await cluster.api.get('/networks/back')).Containers;
  t.is(users[id]?.Name, 'web');
  t.is((await cluster.api.send('DELETE', '/networks/back')).status, 403);
  t.deepEqual(await cluster.names('&filters={"network":["back"]}'), ['/web']);

  t.is((await leave(cluster, 'front')).status, 200);
  t.deepEqual(
    addresses().map(({ device }) => device),
    [1],
    'it is eth1 still',
  );
  t.is((await join(cluster, 'front')).status, 200);
  t.is(addresses().find(({ device }) => device === 0)?.network, front?.network);
  await leave(cluster, 'front');
  await leave(cluster, 'back');
  t.deepEqual(addresses(), []);
  t.deepEqual(Object.keys(await networks(cluster)), ['none']);
  t.is((await join(cluster, 'bridge')).status, 200);
  t.is(addresses().length, 1, 'the way out');
  t.is((await cluster.api.send('DELETE', '/networks/front')).status, 204);
});

test('one that does not run: its next start has the networks; a fixed address is its own', async (t) => {
  const { cluster, asked } = await up();
  await using _ = cluster;
  await cluster.create('web', { HostConfig: { NetworkMode: 'front' } });
  await cluster.post('/containers/web/start');
  await cluster.post('/containers/web/stop');
  asked.length = 0;
  t.is((await join(cluster, 'back', { IPAMConfig: { IPv4Address: '10.21.0.9' } })).status, 200);
  t.is((await leave(cluster, 'front')).status, 200);
  t.deepEqual(asked, []);
  t.like((await networks(cluster))['back'], { IPAMConfig: { IPv4Address: '10.21.0.9' }, IPAddress: '' });
  t.deepEqual(Object.keys(await networks(cluster)), ['back']);
  for (let start = 0; start < 2; start += 1) {
    await cluster.post('/containers/web/restart');
    t.is((await networks(cluster))['back']?.IPAddress, '10.21.0.9');
  }
  const other = { HostConfig: { NetworkMode: 'back' } };
  const endpoint = (IPv4Address: string) => ({
    ...other,
    NetworkingConfig: { EndpointsConfig: { back: { IPAMConfig: { IPv4Address } } } },
  });
  for (const [address, why] of [
    ['10.21.0.9', /address 10\.21\.0\.9 on network back can not be had: it is in use/],
    ['10.21.0.1', /its gateway/],
    ['10.22.0.1', /not in the subnet/],
  ] as const)
    await t.throwsAsync(cluster.create('two', endpoint(address)), { message: why });
  await t.throwsAsync(cluster.create('two', endpoint('10.21.0.300')), { message: /invalid address/ });
  await cluster.create('two', endpoint('10.21.0.8'));
  await cluster.create('three', {});
  t.is((await join(cluster, 'back', {}, 'three')).status, 200);
});

test('what can not be is refused by name, and leaves things as they were', async (t) => {
  const { cluster, refuse } = await up();
  await using _ = cluster;
  await cluster.create('web', { HostConfig: { NetworkMode: 'front' } });
  await cluster.create('host', { HostConfig: { NetworkMode: 'host' } });
  await cluster.create('open', { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } } });
  await cluster.post('/containers/web/start');
  const says = async (answer: Promise<{ status: number; json: Json }>, status: number, pattern: RegExp) => {
    const { status: got, json } = await answer;
    t.is(got, status);
    t.regex(json.message, pattern);
  };
  await says(join(cluster, 'front'), 403, /endpoint with name web already exists in network front/);
  await says(join(cluster, 'closed'), 403, /not manually attachable/);
  await says(join(cluster, 'nosuch'), 404, /network nosuch not found/);
  await says(join(cluster, 'back', {}, 'nosuch'), 404, /No such container: nosuch/);
  await says(join(cluster, 'back', {}, 'host'), 403, /cannot be connected to any other network/);
  await says(join(cluster, 'host'), 403, /host network/);
  await says(join(cluster, 'bridge'), 400, /every network that is not internal is a way out/);
  await says(join(cluster, 'back', { DriverOpts: { x: 'y' } }), 501, /EndpointConfig\.DriverOpts/);
  await says(join(cluster, 'back', { MacAddress: '03:42:ac:11:00:02' }), 400, /invalid MAC address 03:/);
  await says(join(cluster, 'bridge', { Links: ['x'] }), 400, /on user defined networks only/);
  await says(join(cluster, 'back', { Links: ['x:a b'] }), 400, /'a b': a DNS name is expected/);
  await says(join(cluster, 'back', { Aliases: ['a b'] }), 400, /'a b': a DNS name is expected/);
  await says(leave(cluster, 'back'), 403, /is not connected to network back/);
  t.is((await leave(cluster, 'back', { Force: true })).status, 200);
  await says(leave(cluster, 'bridge', {}, 'open'), 403, /publishes ports/);
  refuse('RTNETLINK answers: no');
  await says(join(cluster, 'back'), 409, /RTNETLINK/);
  refuse();
  t.deepEqual(Object.keys(await networks(cluster)), ['front']);
  const taken = { IPAMConfig: { IPv4Address: '10.21.0.1' } };
  await says(join(cluster, 'back', taken), 409, /its gateway/);
  const secret = { Name: 'secret', Driver: 'overlay', Attachable: true, Options: { encrypted: '' } };
  await cluster.post('/networks/create', secret);
  await says(join(cluster, 'secret'), 409, /secret is encrypted and the kernel of its node has no WireGuard/);
  for (const { id, description, ...node } of [...cluster.api.store.all('nodes').values()]) {
    const older = description && { description: { ...description, knows: [] } };
    await cluster.api.write([{ table: 'nodes', key: id, value: { ...node, id, ...older } }]);
  }
  const small = { Attachable: true, Options: { 'com.docker.network.driver.mtu': '1300' } };
  await cluster.post('/networks/create', { Name: 'small', Driver: 'overlay', ...small });
  await says(join(cluster, 'small'), 409, /does not know network\.mtu of network small, on its node/);
  t.deepEqual(Object.keys(await networks(cluster)), ['front']);
  t.is((await join(cluster, 'back')).status, 200, 'the failure before is forgotten');
});

test('one container joins many networks at once, and leaves them so', async (t) => {
  const { cluster } = await up();
  await using _ = cluster;
  await cluster.create('web', { HostConfig: { NetworkMode: 'front' } });
  const names = Array.from({ length: 25 }, (_, i) => `n${i}`);
  for (const [i, Name] of names.entries())
    await cluster.post('/networks/create', {
      Name,
      Driver: 'overlay',
      Attachable: true,
      IPAM: { Config: [{ Subnet: `10.30.${i}.0/28` }] },
    });
  // As to etcd, the way takes time: all have looked before the first has written.
  const { store } = cluster.api;
  const commit = store.commit.bind(store);
  store.commit = async (...args) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return commit(...args);
  };
  const joined = await Promise.all(names.map((name) => join(cluster, name)));
  t.deepEqual([...new Set(joined.map(({ status }) => status))], [200]);
  t.deepEqual(Object.keys(await networks(cluster)).sort(), ['front', ...names].sort());
  const left = await Promise.all(names.map((name) => leave(cluster, name)));
  t.deepEqual([...new Set(left.map(({ status }) => status))], [200]);
  t.deepEqual(Object.keys(await networks(cluster)), ['front']);
});

test('a container that is down and was put on a network of several subnets, or with IPv6, can be seen', async (t) => {
  const { cluster } = await up();
  await using _ = cluster;
  const several = { Config: [{ Subnet: '10.30.0.0/28' }, { Subnet: '10.31.0.0/28' }] };
  for (const [Name, more] of [
    ['several', { IPAM: several }],
    ['six', { EnableIPv6: true }],
  ] as const)
    await cluster.post('/networks/create', { Name, Driver: 'overlay', Attachable: true, ...more });
  const id = await cluster.create('web', { HostConfig: { NetworkMode: 'front' } });
  await cluster.post('/containers/web/start');
  await cluster.end(id, 0);
  for (const network of ['several', 'six']) t.is((await join(cluster, network)).status, 200);
  for (const network of ['front', 'several', 'six'])
    t.like((await networks(cluster))[network], { IPAddress: '', Gateway: '', IPPrefixLen: 0 });
  t.deepEqual(await cluster.names('&all=1'), ['/web']);
  await cluster.post('/containers/web/start');
  for (const network of ['several', 'six']) t.not((await networks(cluster))[network].IPAddress, '');
});

test('of a service’s container the addresses of both families are shown, with their gateways', async (t) => {
  const { cluster } = await up();
  await using _ = cluster;
  const body = { Name: 'six', Driver: 'overlay', EnableIPv6: true, Attachable: true };
  await cluster.post('/networks/create', body);
  await cluster.wake();
  const network = [...cluster.api.store.all('networks').values()].find(({ spec }) => spec.name === 'six');
  const { subnet = '', subnet6 = '' } = network?.allocation ?? {};
  const address = subnet.replace(/0\/\d+$/, '7');
  const info = containerInfo({ networks: [{ network: network?.id ?? '', address }] });
  for (const node of cluster.api.nodes.values()) {
    node.answers.set('container.list', () => [info]);
    node.answers.set('container.inspect', () => info);
  }
  t.like((await networks(cluster, info.id))['six'], {
    IPAddress: address,
    IPPrefixLen: Number(subnet.split('/')[1]),
    Gateway: network?.allocation?.gateway,
    GlobalIPv6Address: subnet6.replace(/::\/64$/, '::7'),
    GlobalIPv6PrefixLen: 64,
  });
});
