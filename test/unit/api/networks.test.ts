/** Docker's own networks, host, bridge and none; what a network shows of its users; pruning and filters. */
import test from 'ava';
import { takeNodeNetwork } from '../../../manager/api/ops/node-networks.ts';
import { checkServiceSpec } from '../../../manager/api/validate/service-spec.ts';
import { networkRow } from '../../../shared/lib/network-row.ts';
import type { Network, Node, ServiceSpec, Task } from '../../../shared/model/index.ts';
import { decodeServiceSpec } from '../../../manager/api/codec/service-spec-codec.ts';
import { ApiFixture, type Json, runningTask } from './fixture.ts';

const filtersOf = (filters: object): string => `filters=${encodeURIComponent(JSON.stringify(filters))}`;
const ALLOCATION = { subnet: '10.0.16.0/20', gateway: '10.0.16.1', vni: 4097 };
const HOST = `host${'0'.repeat(21)}`;

function service(name: string, networks: readonly string[], more: object = {}): object {
  return {
    Name: name,
    TaskTemplate: {
      ContainerSpec: { Image: 'nginx' },
      Networks: networks.map((Target) => ({ Target })),
    },
    ...more,
  };
}

function specOf(networks: readonly string[], ports: readonly object[] = []): ServiceSpec {
  return decodeServiceSpec(service('web', networks, { EndpointSpec: { Ports: ports } })).spec;
}

async function makeNetwork(api: ApiFixture, name: string, more: object = {}): Promise<string> {
  return (await api.send('POST', '/networks/create', { Name: name, Driver: 'overlay', ...more })).json.Id;
}

test('host, bridge and none are there, local, and can not be removed or made', async (t) => {
  await using api = await ApiFixture.up();
  const all: Json[] = await api.get('/networks');
  t.deepEqual(
    all.map((n) => [n.Name, n.Driver, n.Scope]),
    [
      ['bridge', 'bridge', 'local'],
      ['host', 'host', 'local'],
      ['none', 'null', 'local'],
    ],
  );
  t.is((await api.get('/networks/host')).Id, HOST);
  t.is((await api.get(`/networks/${HOST}`)).Name, 'host');
  t.is((await api.get('/networks/host?scope=swarm')).Scope, 'swarm');
  for (const name of ['host', 'bridge', 'none']) {
    const { status, json } = await api.send('DELETE', `/networks/${name}`);
    t.deepEqual([status, json.message], [403, `${name} is a pre-defined network and cannot be removed`]);
    t.is((await api.send('POST', '/networks/create', { Name: name })).status, 403);
  }
});

test('a service on host or none is stored without networks, shown with the one, and keeps or changes it', async (t) => {
  await using api = await ApiFixture.up();
  const made = await api.send('POST', '/services/create', service('web', ['host']));
  t.is(made.status, 201);
  const stored = () => {
    const { id, revision } = api.store.get('services', made.json.ID) ?? { id: '', revision: 0 };
    return api.store.get('revisions', `${id}.${revision}`)?.spec;
  };
  t.deepEqual([stored()?.networks, stored()?.container.runtime], [[], { network: 'host' }]);
  const shown = await api.get('/services/web');
  t.deepEqual(shown.Spec.TaskTemplate.Networks, [{ Target: HOST }]);
  t.is(shown.Spec.TaskTemplate.ContainerSpec.HostConfig, undefined);

  // a client sends back what it read
  const update = async (change: (spec: Json) => void): Promise<void> => {
    const { Version, Spec } = await api.get('/services/web');
    change(Spec);
    const answer = await api.send('POST', `/services/web/update?version=${Version.Index}`, Spec);
    t.is(answer.status, 200, answer.body.toString());
  };
  const before = api.store.get('services', made.json.ID)?.revision;
  await update(() => undefined);
  t.is(api.store.get('services', made.json.ID)?.revision, before, 'nothing changed');
  await update((spec) => (spec.TaskTemplate.Networks = [{ Target: 'none' }]));
  t.deepEqual(stored()?.container.runtime, { network: 'none' });
  await makeNetwork(api, 'front');
  await update((spec) => (spec.TaskTemplate.Networks = [{ Target: 'front' }]));
  t.is(stored()?.container.runtime, undefined);
  t.is(stored()?.networks.length, 1);
  await update((spec) => (spec.TaskTemplate.Networks = [{ Target: 'bridge' }]));
  t.deepEqual([stored()?.networks, stored()?.container.runtime], [[], undefined]);
});

test('the node’s networks are alone, and publish nothing on the mesh', async (t) => {
  await using api = await ApiFixture.up();
  await makeNetwork(api, 'front');
  const port = (PublishMode: string, PublishedPort: number) => ({
    PublishMode,
    PublishedPort,
    TargetPort: 80,
  });
  const refusals: [string[], object[], RegExp][] = [
    [['host', 'front'], [], /network host can not be combined with other networks/],
    [['front', 'bridge'], [], /network bridge can not be combined/],
    [['host'], [port('ingress', 8080)], /8080\/tcp: ingress mode can't be used with network host/],
    [['host'], [port('host', 8080)], /with network host the published port is the target port \(80\)/],
    [['none'], [port('host', 80)], /a container with network none has no ports/],
  ];
  for (const [networks, ports, message] of refusals) {
    const spec = service('web', networks, { EndpointSpec: { Ports: ports } });
    const { status, json } = await api.send('POST', '/services/create', spec);
    t.is(status, 400, JSON.stringify(networks));
    t.regex(json.message, message);
  }
  const named = service('named', []) as Json;
  named.TaskTemplate.Networks = [{ Target: 'host', Aliases: ['www'] }];
  const warned = await api.send('POST', '/services/create', named);
  t.deepEqual(warned.json.Warnings, [
    'TaskTemplate.Networks: aliases have no effect on network host: it has no names',
  ]);
  const fine = takeNodeNetwork(specOf(['host'], [port('host', 80)]));
  t.deepEqual(checkServiceSpec(fine), []);
});

function place(api: ApiFixture, id: string, network: string, address: string): Promise<number> {
  const [first, second] = runningTask(api.store.get('services', id) as Json, 1, 'nodea2');
  const task = { ...(first?.value as Task), addresses: [{ network, address }] };
  return api.write([
    { table: 'tasks', key: task.id, value: task },
    ...(second === undefined ? [] : [second]),
  ]);
}

test('an inspected network shows its containers, nodes and services', async (t) => {
  await using api = await ApiFixture.up();
  api.obeys = false;
  const network = await makeNetwork(api, 'front');
  const record = api.store.get('networks', network) as Network;
  const allocation = { subnet: '10.0.16.0/20', gateway: '10.0.16.1', vni: 4097 };
  const made = await api.send('POST', '/services/create', service('web', ['front']));
  const id: string = made.json.ID;
  const vips = [{ network, address: '10.0.16.2' }];
  const current = api.store.get('services', id) as Json;
  await api.write([
    { table: 'networks', key: network, value: { ...record, allocation } },
    { table: 'services', key: id, value: { ...current, endpoint: { vips, ports: [] } } },
  ]);
  await place(api, id, network, '10.0.16.3');
  const shown = await api.get('/networks/front?verbose=1');
  const [container]: Json[] = Object.values(shown.Containers);
  t.regex(Object.keys(shown.Containers)[0] ?? '', /^[0-9a-f]{64}$/);
  t.like(container, { IPv4Address: '10.0.16.3/20' });
  t.regex(container.Name, /^web\.1\.\w{25}$/);
  t.deepEqual(shown.Peers, [{ Name: 'a2-nodea2', IP: '10.1.0.2' }]);
  t.is(shown.Services.web.VIP, '10.0.16.2');
  t.like(shown.Services.web.Tasks[0], { EndpointIP: '10.0.16.3', Info: { 'Host IP': '10.1.0.2' } });
  t.is((await api.get('/networks/front')).Services, undefined);
});

test('what is chosen of a network is kept and shown, and refused by its field', async (t) => {
  await using api = await ApiFixture.up();
  const make = (...Config: object[]) =>
    api.send('POST', '/networks/create', { Name: `n${Math.random()}`, Driver: 'overlay', IPAM: { Config } });
  const pools = [
    { Subnet: '10.20.0.0/24', IPRange: '10.20.0.128/25', Gateway: '10.20.0.254' },
    { Subnet: '10.21.0.0/24', AuxiliaryAddresses: { router: '10.21.0.5' } },
  ];
  const made = await make(...pools);
  const shown = await api.get(`/networks/${made.json.Id}`);
  t.deepEqual(shown.IPAM.Config, pools);
  const refusals: [object, RegExp][] = [
    [
      { Subnet: '10.30.0.0/24', Gateway: '10.31.0.1' },
      /^gateway 10\.31\.0\.1 is not in subnet 10\.30\.0\.0\/24$/,
    ],
    [{ Subnet: '10.30.0.0/24', Gateway: '10.30.0.255' }, /^gateway 10\.30\.0\.255 is the first or the last/],
    [{ Subnet: '10.30.0.0/24', IPRange: '10.31.0.0/25' }, /^range 10\.31\.0\.0\/25 is not in subnet/],
    [{ Subnet: '10.30.0.0/24', IPRange: '10.30.0.0/16' }, /^range 10\.30\.0\.0\/16 is not in subnet/],
    [
      { Subnet: '10.30.0.0/24', AuxiliaryAddresses: { a: '10.3.0.1' } },
      /^auxiliary address a: 10\.3\.0\.1 is not in/,
    ],
    [
      { Subnet: '10.30.0.0/24', AuxiliaryAddresses: { a: 'x' } },
      /^auxiliary address a: not an IPv4 address: x/,
    ],
    [
      { Subnet: '169.254.7.0/24' },
      /^subnet 169\.254\.7\.0\/24 can not be used: its addresses are link-local/,
    ],
    [{ Subnet: '224.1.0.0/16' }, /are for multicast$/],
    [{ IPRange: '10.30.0.0/25' }, /^a range of addresses needs a subnet$/],
    [{ AuxiliaryAddresses: { a: '10.3.0.1' } }, /^auxiliary addresses need a subnet$/],
  ];
  for (const [pool, message] of refusals) {
    const { status, json } = await make(pool);
    t.is(status, 400, JSON.stringify(pool));
    t.regex(json.message, message);
  }
});

test('a service asks for its virtual address and its way out by options of the attachment', async (t) => {
  await using api = await ApiFixture.up();
  const front = await makeNetwork(api, 'front', { IPAM: { Config: [{ Subnet: '10.20.0.0/24' }] } });
  const record = api.store.get('networks', front) as Network;
  const allocation = { subnet: '10.20.0.0/24', gateway: '10.20.0.1', vni: 4097 };
  await api.write([{ table: 'networks', key: front, value: { ...record, allocation } }]);
  const make = (Name: string, DriverOpts: object, more: object = {}) => {
    const spec = service(Name, [], more) as Json;
    spec.TaskTemplate.Networks = [{ Target: 'front', DriverOpts }];
    return api.send('POST', '/services/create', spec);
  };
  const options = { 'shoal.address': '10.20.0.9', 'shoal.gw-priority': '5' };
  const { json } = await make('web', options);
  const read = (await api.get(`/services/${json.ID}`)).Spec.TaskTemplate;
  t.deepEqual(read.Networks, [{ Target: front, DriverOpts: options }]);
  const refusals: [object, object, number, RegExp][] = [
    [
      { 'shoal.address': '10.20.0.1' },
      {},
      400,
      /10\.20\.0\.1 on network front can not be had: it is the subnet's own/,
    ],
    [{ 'shoal.address': '10.21.0.9' }, {}, 400, /it is not in the subnet/],
    [{ 'shoal.address': '10.20.0.300' }, {}, 400, /an IPv4 address such as 10\.0\.0\.9 is expected/],
    [
      { 'shoal.address': '10.20.0.9' },
      { EndpointSpec: { Mode: 'dnsrr' } },
      400,
      /endpoint mode dnsrr has none/,
    ],
    [{ 'shoal.gw-priority': 'high' }, {}, 400, /'high': a whole number is expected/],
    [{ odd: 'x' }, {}, 501, /not supported by Shoal: odd \(shoal\.address and shoal\.gw-priority are\)/],
  ];
  for (const [opts, more, status, message] of refusals) {
    const answer = await make('bad', opts, more);
    t.is(answer.status, status, JSON.stringify(opts));
    t.regex(answer.json.message, message);
  }
});

test('every filter of the list', async (t) => {
  await using api = await ApiFixture.up();
  const front = await makeNetwork(api, 'front', { Labels: { tier: 'a' } });
  await makeNetwork(api, 'back');
  await api.send('POST', '/services/create', service('web', ['front']));
  const names = async (filters: object): Promise<string[]> =>
    (await api.get(`/networks?${filtersOf(filters)}`)).map((n: Json) => n.Name);
  const table: [object, string[]][] = [
    [{}, ['bridge', 'host', 'none', 'back', 'front']],
    [{ dangling: ['true'] }, ['back']],
    [{ dangling: { true: true }, type: ['custom'] }, ['back']],
    [{ dangling: ['false'] }, ['bridge', 'host', 'none', 'front']],
    [{ driver: ['overlay'] }, ['back', 'front']],
    [{ driver: ['null', 'host'] }, ['host', 'none']],
    [{ id: [front.slice(0, 8)] }, ['front']],
    [{ label: ['tier'] }, ['front']],
    [{ label: ['tier=b'] }, []],
    [{ name: ['ro'] }, ['front']],
    [{ scope: ['local'] }, ['bridge', 'host', 'none']],
    [{ scope: ['swarm'] }, ['back', 'front']],
    [{ type: ['builtin'] }, ['bridge', 'host', 'none']],
    [{ type: ['custom'] }, ['back', 'front']],
  ];
  for (const [filters, wanted] of table)
    t.deepEqual((await names(filters)).toSorted(), wanted.toSorted(), JSON.stringify(filters));
  for (const bad of [{ type: ['odd'] }, { dangling: ['maybe'] }, { colour: ['red'] }])
    t.is((await api.send('GET', `/networks?${filtersOf(bad)}`)).status, 400, JSON.stringify(bad));
});

test('prune takes what nothing uses, by label and age', async (t) => {
  await using api = await ApiFixture.up();
  for (const [name, keep] of [
    ['old', 'no'],
    ['kept', 'yes'],
    ['used', 'no'],
    ['plain', ''],
  ])
    await makeNetwork(api, name ?? '', keep === '' ? {} : { Labels: { keep } });
  await api.send('POST', '/services/create', service('web', ['used']));
  const prune = async (filters: object): Promise<string[]> =>
    (await api.send('POST', `/networks/prune?${filtersOf(filters)}`)).json.NetworksDeleted;
  t.deepEqual(await prune({ until: ['2020-01-01T00:00:00Z'] }), []);
  t.deepEqual(await prune({ label: ['keep=no'] }), ['old']);
  t.deepEqual(await prune({ 'label!': ['keep'] }), ['plain']);
  t.deepEqual(await prune({}), ['kept']);
  t.deepEqual(await prune({}), []);
  t.is((await api.send('POST', `/networks/prune?${filtersOf({ name: ['a'] })}`)).status, 400);
  t.is((await api.get('/networks/used')).Name, 'used');
});

test('allow-lists: labels that are checked, what they name is said when it is missing, a network can get another', async (t) => {
  await using api = await ApiFixture.up();
  const post = (path: string, body: object) => api.send('POST', path, body);
  const bad = await post('/networks/create', { Name: 'bad', Labels: { 'shoal.allow': 'web' } });
  t.deepEqual(
    [bad.status, bad.json.message],
    [400, "network: Labels.shoal.allow: 'web': FROM>TO or FROM>TO:PORT is expected"],
  );
  const made = await post('/networks/create', { Name: 'front', Labels: { 'shoal.allow': 'web>*' } });
  t.regex(
    made.json.Warning,
    /^Labels\.shoal\.allow: there is no service 'web': until there is one, it allows nothing$/,
  );
  const local = await post('/networks/create', {
    Name: 'l',
    Driver: 'bridge',
    Labels: { 'shoal.allow': 'none' },
  });
  t.deepEqual(
    [local.status, local.json.message],
    [400, 'network: Labels.shoal.allow: is for overlay networks, not for those of driver bridge'],
  );
  const allow = (list: string) => ({ Labels: { 'shoal.allow-from': list } });
  const refused = await post('/services/create', service('db', ['front'], allow('web:http')));
  t.is(refused.status, 400);
  t.regex(
    refused.json.message,
    /^invalid service spec: Labels\.shoal\.allow-from: 'web:http': a service's name/,
  );
  const db = await post('/services/create', service('db', ['front'], allow('web:5432,none')));
  t.regex(db.json.Warnings.join(), /no service 'web'.*no service 'none'/);
  t.is((await post('/services/create', service('web', ['front'], allow('db')))).json.Warnings, undefined);
  t.is((await api.get('/services/db')).Spec.Labels['shoal.allow-from'], 'web:5432,none');
  t.deepEqual((await api.get('/services/db/explain')).AllowLists, [
    "Labels.shoal.allow-from: there is no service 'none': until there is one, it allows nothing",
  ]);
  const run = await post('/containers/create', { Image: 'nginx', ...allow('web') });
  t.deepEqual([run.status, /is for services: make a service of it/.test(run.json.message)], [400, true]);

  const updated = await post('/networks/front/update', { Labels: { 'shoal.allow': 'web>db:5432' } });
  t.deepEqual([updated.status, updated.json], [200, { Warning: '' }]);
  t.deepEqual((await api.get('/networks/front')).Labels, { 'shoal.allow': 'web>db:5432' });
  t.is((await post('/networks/front/update', { Labels: { 'shoal.allow': '' } })).status, 400);
  t.is((await post('/networks/front/update', { Labels: {}, Internal: true })).status, 501);
  t.is((await post('/networks/host/update', { Labels: {} })).status, 403);
});

test('a network of the driver macvlan has its options, and is local as one of bridge', async (t) => {
  await using api = await ApiFixture.up();
  const create = (Options: object, more: object = {}) =>
    api.send('POST', '/networks/create', { Name: 'lan', Driver: 'macvlan', Options, ...more });
  const refusals: [object, object, RegExp][] = [
    [{}, {}, /driver option parent: a device of the nodes is needed/],
    [{ parent: 'eth0/1' }, {}, /driver option parent: 'eth0\/1'/],
    [{ parent: 'su01234567' }, {}, /driver option parent: 'su01234567'/],
    [
      { parent: 'eth1', macvlan_mode: 'l2' },
      {},
      /macvlan_mode: 'l2': one of bridge, private, vepa, passthru/,
    ],
    [
      { parent: 'eth1', ipvlan_mode: 'l2' },
      {},
      /driver option ipvlan_mode \(of the driver macvlan there are /,
    ],
    [{ parent: 'eth1' }, { EnableIPv6: true }, /EnableIPv6 with the driver macvlan/],
    [{ parent: 'eth1' }, { Scope: 'swarm' }, /networks of driver macvlan have the scope 'local'/],
    [
      { parent: 'eth1' },
      { Driver: 'weave' },
      /network driver 'weave' is not supported: overlay, bridge, macvlan/,
    ],
  ];
  for (const [options, more, message] of refusals) {
    const { status, json } = await create(options, more);
    t.true(status === 400 || status === 501, JSON.stringify(options));
    t.regex(json.message, message);
  }
  const Options = { parent: 'eth1.50', macvlan_mode: 'private' };
  const IPAM = {
    Config: [{ Subnet: '192.168.50.0/24', Gateway: '192.168.50.1', IPRange: '192.168.50.128/25' }],
  };
  t.is((await create(Options, { IPAM })).status, 201);
  t.like(await api.get('/networks/lan'), { Driver: 'macvlan', Scope: 'local', Options });
  const refused = await api.send('POST', '/services/create', service('web', ['lan']));
  t.regex(refused.json.message, /network lan cannot be used with services/);
});

test('a network of a plugin is made where a node has it, with options that are its own', async (t) => {
  await using api = await ApiFixture.up();
  const create = (more: object = {}) =>
    api.send('POST', '/networks/create', {
      Name: 'woven',
      Driver: 'weave',
      Options: { color: 'red' },
      ...more,
    });
  t.is((await create()).status, 400, 'no node has it');
  const [key, node] = [...api.store.all('nodes')][0] ?? [];
  await api.write([
    { table: 'nodes', key: key ?? '', value: { ...(node as Node), drivers: { plugins: ['weave'] } } },
  ]);
  t.regex((await create({ Scope: 'swarm' })).json.message, /networks of driver weave have the scope 'local'/);
  t.regex((await create({ EnableIPv6: true })).json.message, /EnableIPv6 with the driver weave/);
  t.is((await create()).status, 201);
  t.like(await api.get('/networks/woven'), { Driver: 'weave', Scope: 'local', Options: { color: 'red' } });
  t.deepEqual((await api.get('/info')).Plugins.Network, [
    'bridge',
    'host',
    'macvlan',
    'null',
    'overlay',
    'weave',
  ]);
  const id = (await api.get('/networks/woven')).Id;
  t.like(networkRow({ ...(api.store.get('networks', id) as Network), allocation: ALLOCATION }), {
    local: true,
    outside: { kind: 'plugin', plugin: 'weave', options: { color: 'red' } },
  });
});

test('a network of the driver bridge is local, for single containers only, with its options', async (t) => {
  await using api = await ApiFixture.up();
  const post = (path: string, body: object) => api.send('POST', path, body);
  const Options = {
    'com.docker.network.bridge.enable_icc': 'false',
    'com.docker.network.driver.mtu': '1400',
  };
  t.is(
    (await post('/networks/create', { Name: 'node', Driver: 'bridge', Options, Scope: 'local' })).status,
    201,
  );
  t.like(await api.get('/networks/node'), { Driver: 'bridge', Scope: 'local', Options });
  const listed = await api.get(`/networks?${filtersOf({ scope: ['local'], type: ['custom'] })}`);
  t.deepEqual(
    listed.map(({ Name }: Json) => Name),
    ['node'],
  );
  const refused = await post('/services/create', service('web', ['node']));
  t.is(refused.status, 400);
  t.regex(
    refused.json.message,
    /network node cannot be used with services. Only networks scoped to the swarm/,
  );
  t.deepEqual((await post(`/networks/prune`, {})).json.NetworksDeleted, ['node']);
});
