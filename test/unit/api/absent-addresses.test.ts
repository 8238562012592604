/** A port on an address that no node has is warned of, wherever it is asked for. */
import test from 'ava';
import { Cluster } from './container-cluster.ts';
import type { ApiFixture, Json } from './fixture.ts';

const NOWHERE = '198.51.100.7';
const WARNING = (ports: string): string =>
  `no node has the address ${NOWHERE}: what is published there (${ports}) answers nowhere until one has it`;

/** The nodes say which addresses they have besides those that they are known by. */
async function say(api: ApiFixture, ...addresses: (readonly string[] | undefined)[]): Promise<void> {
  const nodes = [...api.store.all('nodes').values()];
  const writes = nodes.map((node, i) => {
    const own = addresses[i];
    const { addresses: _, ...rest } = node;
    const value = own === undefined ? rest : { ...rest, addresses: own };
    return { table: 'nodes', key: node.id, value } as const;
  });
  await api.write(writes);
}

test('docker run -p: warned of unless a node has it, or it can not be told', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const warnings = async (...HostIps: string[]): Promise<string[]> => {
    const bindings = HostIps.map((HostIp) => ({ HostIp, HostPort: '' }));
    const PortBindings = { '80/tcp': bindings, '53/udp': bindings };
    const created = await api.send('POST', '/containers/create', {
      Image: 'busybox',
      HostConfig: { PortBindings },
    });
    t.is(created.status, 201, created.body.toString());
    return created.json.Warnings;
  };
  t.deepEqual(await warnings(NOWHERE), [], 'no node has said anything');
  await say(api, ['192.0.2.1'], undefined);
  t.deepEqual(await warnings(NOWHERE), [], 'one has not');
  await say(api, ['192.0.2.1', '2001:db8::7'], []);
  t.deepEqual(await warnings(NOWHERE), [WARNING('80/tcp, 53/udp')]);
  const good = ['192.0.2.1', '10.1.0.2', '127.0.0.1', '127.0.0.53', '::1', '2001:DB8:0::7', ''];
  for (const one of [...good, '0.0.0.0', '::']) t.deepEqual(await warnings(one), [], one);
  t.deepEqual(await warnings('192.0.2.1', NOWHERE), [WARNING('80/tcp, 53/udp')]);
});

test('services and stacks: when they are made, changed and explained', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  await say(api, [], []);
  const Ports = [{ TargetPort: 80, PublishedPort: 8080, HostIp: NOWHERE }];
  const spec = {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
    EndpointSpec: { Ports },
  };
  const created = await api.send('POST', '/services/create', spec);
  t.deepEqual(created.json.Warnings, [WARNING('80/tcp')]);
  t.deepEqual((await api.get('/services/web/explain')).Addresses, [WARNING('80/tcp')]);
  const update = async (more: object): Promise<Json> => {
    const version = (await api.get('/services/web')).Version.Index;
    return (await api.send('POST', `/services/web/update?version=${version}`, { ...spec, ...more })).json;
  };
  t.deepEqual((await update({ Labels: { a: 'b' } })).Warnings, [WARNING('80/tcp')]);
  t.deepEqual((await update({ EndpointSpec: { Ports: [] } })).Warnings, null);
  t.is((await api.get('/services/web/explain')).Addresses, undefined);

  const file = `services:\n  web:\n    image: busybox\n    ports: ["${NOWHERE}:8081:80"]\n`;
  const yaml = { 'content-type': 'application/yaml' };
  const deployed = await api.send('PUT', '/stacks/shop', file, yaml);
  t.is(deployed.status, 200, deployed.body.toString());
  t.deepEqual(
    deployed.json.warnings.map(({ message, line, key }: Json) => [message, line, key]),
    [[`services.web.ports: ${WARNING('80/tcp')}`, 4, 'services.web.ports']],
  );
});
