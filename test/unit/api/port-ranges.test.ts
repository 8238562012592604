/** Containers with a port that is one of a range, and how those are called who hold a port. */
import test from 'ava';
import { Cluster } from './container-cluster.ts';
import type { Json } from './fixture.ts';

const published = (HostPort: string, more: object = {}) => ({
  HostConfig: { PortBindings: { '80/tcp': [{ HostPort, ...more }] } },
});

test('the one that was chosen is shown, kept over a stop, and given to nobody else', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  await cluster.create('one', published('9010-9011'));
  await cluster.create('two', published('9010-9011'));
  const started = async (name: string): Promise<unknown> => {
    t.is(await cluster.post(`/containers/${name}/start`), 204);
    const { HostConfig, NetworkSettings } = await api.get(`/containers/${name}/json`);
    t.deepEqual(HostConfig.PortBindings['80/tcp'], [{ HostPort: '9010-9011' }], 'as it was asked for');
    return NetworkSettings.Ports['80/tcp'].map(({ HostPort }: Json) => HostPort);
  };
  t.deepEqual(await started('two'), ['9011'], 'the first was given when it was made');
  const [listed] = await api.get('/containers/json');
  t.deepEqual(listed.Ports, [{ IP: '0.0.0.0', PrivatePort: 80, PublicPort: 9011, Type: 'tcp' }]);
  t.deepEqual(await cluster.names('&filters={"publish":["9011"]}'), ['/two']);
  t.is(await cluster.post('/containers/two/stop'), 204);

  const refused = await api.send('POST', '/containers/create', {
    Image: 'busybox',
    ...published('9010-9011'),
  });
  t.is(refused.status, 409);
  t.is(
    refused.json.message,
    'Bind for 0.0.0.0:9010-9011 failed: all ports of the range are already allocated',
  );
  const one = await api.send('POST', '/containers/create', { Image: 'busybox', ...published('9011') });
  t.is(one.json.message, 'Bind for 0.0.0.0:9011 failed: port is already allocated to container two');
  t.deepEqual(await cluster.names(), ['/one', '/two']);
  t.is((await api.send('DELETE', '/containers/one')).status, 204);
  await cluster.create('three', published('9010-9011'));
  t.deepEqual([await started('three'), await started('two')], [['9010'], ['9011']]);
});

test('of those that are made at once each has its own, and who comes too late leaves nothing', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const made = await Promise.all(
    [1, 2, 3, 4].map((n) =>
      api.send('POST', `/containers/create?name=c${n}`, { Image: 'busybox', ...published('9010-9012') }),
    ),
  );
  const late = made.filter(({ status }) => status !== 201);
  t.deepEqual(
    late.map(({ status }) => status),
    [409],
  );
  t.regex(late[0]?.json.message, /^(no free port in 9010-9012\/tcp|Bind for .* all ports of the range .*)$/);
  const numbers = [...api.store.all('services').values()].flatMap(
    ({ endpoint }) => endpoint?.ports.map(({ publishedPort }) => publishedPort) ?? [],
  );
  t.deepEqual(numbers.toSorted(), [9010, 9011, 9012]);
  t.is((await cluster.names()).length, 3);
});

test('so many ranges that looking at them would take long are refused', async (t) => {
  await using cluster = await Cluster.up();
  const refusal = async (HostPort: string, count: number): Promise<string> => {
    const bindings = Array.from({ length: count }, (_, i) => [`${i + 1}/tcp`, [{ HostPort }]]);
    const HostConfig = { PortBindings: Object.fromEntries(bindings) };
    return (await cluster.api.send('POST', '/containers/create', { Image: 'busybox', HostConfig })).json
      .message;
  };
  t.is(
    await refusal('1-65535', 4),
    'ports: 4 ranges of 262140 ports in all to choose from: at most 256 ranges of 200000 ports in all are taken',
  );
  t.regex(await refusal('1-2', 257), /^ports: 257 ranges of 514 ports/);
});

test('a container is called one where it is in the way of a service, a stack or a network’s removal', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  t.is(await cluster.post('/networks/create', { Name: 'net', Driver: 'overlay', Attachable: true }), 201);
  const HostConfig = { NetworkMode: 'net', PortBindings: { '80/tcp': [{ HostPort: '8080' }] } };
  await cluster.create('shop_web', { HostConfig });
  const EndpointSpec = { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] };
  const created = await api.send('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
    EndpointSpec,
  });
  t.regex(created.json.message, /port '8080' is already in use by container 'shop_web' as an ingress port$/);
  const file = 'services: {web: {image: busybox, ports: ["8080:80"]}}';
  const yaml = { 'content-type': 'application/yaml' };
  const { json } = await api.send('PUT', '/stacks/shop', file, yaml);
  t.deepEqual(
    json.errors.map(({ message }: Json) => message),
    ['services.web.ports: port 8080/tcp is already in use by container shop_web'],
  );
  const removed = await api.send('DELETE', '/networks/net');
  t.regex(removed.json.message, /network net is in use by container shop_web$/);
});
