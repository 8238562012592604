import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'node:http';
import test from 'ava';
import type { NodeConfinement, Service } from '../../../shared/model/index.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import { type Json, ApiFixture, runningTask } from './fixture.ts';
import { containerInfo, framesOf } from './samples.ts';

const filtersOf = (filters: object): string => `filters=${encodeURIComponent(JSON.stringify(filters))}`;

async function createService(api: ApiFixture, name: string, more: object = {}): Promise<string> {
  const body = { Name: name, TaskTemplate: { ContainerSpec: { Image: 'nginx' }, ...more } };
  const { status, json } = await api.send('POST', '/services/create', body);
  if (status !== 201) throw new Error(json.message);
  return json.ID;
}

function serviceOf(api: ApiFixture, id: string): Service {
  const service = api.store.get('services', id);
  if (service === undefined) throw new Error(`no service ${id}`);
  return service;
}

/** Waits for what the API shows to become so. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !condition(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
  }
}

test('nodes: list, inspect by every name, filters', async (t) => {
  await using api = await ApiFixture.up(3);
  const list = async (filters: object) =>
    (await api.get(`/nodes?${filtersOf(filters)}`)).map((n: Json) => n.ID);
  t.deepEqual(await list({}), ['nodea1', 'nodea2', 'nodea3']);
  t.deepEqual(await list({ role: ['manager'] }), ['nodea1']);
  t.deepEqual(await list({ name: ['a2'] }), ['nodea2']);
  t.deepEqual(await list({ label: ['disk=ssd'], id: ['nodea3'] }), ['nodea3']);
  t.deepEqual(await list({ membership: ['pending'] }), []);
  for (const ref of ['nodea1', 'a1', 'self']) t.is((await api.get(`/nodes/${ref}`)).ID, 'nodea1');
  t.is((await api.send('GET', '/nodes/node')).status, 400, 'an ambiguous prefix');
  const node = await api.get('/nodes/a1');
  t.deepEqual(node.ManagerStatus, { Leader: true, Reachability: 'reachable', Addr: '10.1.0.1:7300' });
  t.is((await api.get('/nodes/a2')).ManagerStatus, undefined);
  t.is(node.Description.Resources.NanoCPUs, 2e9);
});

test('nodes: which security modules one has on, and all of them together', async (t) => {
  await using api = await ApiFixture.up(3);
  const all = async () => (await api.get('/info')).SecurityOptions;
  const plain = ['name=seccomp,profile=builtin', 'name=cgroupns'];
  t.deepEqual(await all(), plain);
  const has = async (id: string, confinement: NodeConfinement): Promise<void> => {
    const node = api.store.get('nodes', id);
    if (node === undefined) throw new Error(id);
    await api.write([{ table: 'nodes', key: id, value: { ...node, confinement } }]);
  };
  await has('nodea1', { appArmorProfiles: ['web'] });
  await has('nodea2', { selinux: true });
  t.deepEqual(await all(), [...plain, 'name=apparmor', 'name=selinux']);
  t.like((await api.get('/nodes/a1')).Description, {
    SecurityOptions: ['name=apparmor'],
    AppArmorProfiles: ['web'],
  });
  const { SecurityOptions, AppArmorProfiles } = (await api.get('/nodes/a2')).Description;
  t.deepEqual([SecurityOptions, AppArmorProfiles], [['name=selinux'], undefined]);
  t.is((await api.get('/nodes/a3')).Description.SecurityOptions, undefined);
});

test('services: an AppArmor profile and an SELinux label go in and come out', async (t) => {
  await using api = await ApiFixture.up();
  const create = (Name: string, ContainerSpec: object): Promise<{ status: number; json: Json }> =>
    api.send('POST', '/services/create', {
      Name,
      TaskTemplate: { ContainerSpec: { Image: 'nginx', ...ContainerSpec } },
    });
  const SELinuxContext = { Disable: false, User: '', Role: '', Type: 'web_t', Level: '' };
  const made = await create('a', {
    Privileges: { SELinuxContext, AppArmor: { Mode: 'default' } },
    HostConfig: { SecurityOpt: ['apparmor=web'] },
  });
  t.is(made.status, 201, made.json.message);
  const spec = (await api.get('/services/a')).Spec.TaskTemplate.ContainerSpec;
  t.deepEqual(spec.Privileges.SELinuxContext, SELinuxContext);
  t.deepEqual(spec.HostConfig.SecurityOpt, ['apparmor=web']);
  const off = await create('b', {
    Privileges: { SELinuxContext: { Disable: true, Type: 'x' }, AppArmor: { Mode: 'disabled' } },
  });
  t.is(off.status, 201);
  t.is((await api.get('/services/b')).Spec.TaskTemplate.ContainerSpec.Privileges, undefined);
  for (const [container, message] of [
    [{ Privileges: { AppArmor: { Mode: 'web' } } }, /AppArmor/],
    [{ Privileges: { SELinuxContext: { Type: 'a b' } } }, /selinux: type 'a b': such as container_t/],
    [
      { HostConfig: { SecurityOpt: ['label=type:t'] } },
      /HostConfig.SecurityOpt: not supported by Shoal: 'label=type:t'/,
    ],
    [{ HostConfig: { SecurityOpt: ['apparmor='] } }, /the name of an AppArmor profile is expected/],
  ] as const) {
    const { status, json } = await create('c', container);
    t.true(status === 400 || status === 501, json.message);
    t.regex(json.message, message);
  }
});

test('nodes: one is awaited for a while, and not any more', async (t) => {
  await using api = await ApiFixture.up();
  const awaited = async (query: string) => (await api.send('POST', `/nodes/a2/await${query}`)).status;
  t.is(await awaited('?seconds=60'), 200);
  const until = api.store.get('nodes', 'nodea2')?.awaitedUntilMs ?? 0;
  t.true(until > 0);
  for (const query of ['', '?seconds=3601', '?seconds=-1', '?seconds=x'])
    t.is(await awaited(query), 400, query);
  t.is(api.store.get('nodes', 'nodea2')?.awaitedUntilMs, until);
  t.is(await awaited('?seconds=0'), 200);
  t.is(api.store.get('nodes', 'nodea2')?.awaitedUntilMs, undefined);
  t.is((await api.send('POST', '/nodes/none/await?seconds=1')).status, 404);
});

test('nodes: availability and labels change, the role does not; only a node that is down can be removed', async (t) => {
  await using api = await ApiFixture.up();
  const { Version, Spec } = await api.get('/nodes/a2');
  const update = (version: number, spec: object) =>
    api.send('POST', `/nodes/nodea2/update?version=${version}`, spec);
  t.is((await update(Version.Index, { ...Spec, Availability: 'drain', Labels: { zone: 'b' } })).status, 200);
  t.deepEqual(api.store.get('nodes', 'nodea2')?.spec, {
    role: 'worker',
    availability: 'drain',
    labels: { zone: 'b' },
  });
  t.regex((await update(Version.Index, Spec)).json.message, /update out of sequence/);
  const version = api.store.version('nodes', 'nodea2');
  t.is((await update(version, { ...Spec, Role: 'manager' })).status, 501);
  t.is((await update(version, { ...Spec, Availability: 'away' })).status, 400);
  t.deepEqual((await api.get(`/nodes?${filtersOf({ 'node.label': ['zone=b'] })}`)).length, 1);
  t.regex((await api.send('DELETE', '/nodes/nodea2')).json.message, /is not down/);
  t.is((await api.send('DELETE', '/nodes/nodea1?force=1')).status, 400, 'a manager');
  t.is((await api.send('DELETE', '/nodes/nodea2?force=1')).status, 200);
  t.is((await api.send('GET', '/nodes/nodea2')).status, 404);
});

test('networks: create, refuse, list, use, remove', async (t) => {
  await using api = await ApiFixture.up();
  const create = (body: object) => api.send('POST', '/networks/create', body);
  const made = await create({
    Name: 'front',
    Driver: 'overlay',
    Labels: { a: 'b' },
    EnableIPv6: true,
    IPAM: { Config: [{ Subnet: '10.5.0.0/24' }, { Subnet: 'fd00:5::/64', Gateway: 'fd00:5::1' }] },
    Options: { encrypted: '' },
  });
  t.is(made.status, 201);
  t.is((await create({ Name: 'front', Driver: 'overlay' })).status, 409);
  const both = (...subnets: string[]) => ({
    Name: 'x',
    IPAM: { Config: subnets.map((Subnet) => ({ Subnet })) },
  });
  const ipv6 = (Subnet: string, Gateway?: string) => ({
    Name: 'x',
    EnableIPv6: true,
    IPAM: { Config: [{ Subnet, ...(Gateway === undefined ? {} : { Gateway }) }] },
  });
  const refusals: [object, number, RegExp][] = [
    [{ Name: 'x', Options: { encrypted: 'a bit' } }, 400, /encrypted: 'a bit': true, false or nothing/],
    [{ Name: 'x', Options: { encryption: '' } }, 501, /driver option encryption/],
    [{ Name: 'x', Driver: 'bridge', Scope: 'swarm' }, 400, /scope 'local', not 'swarm'/],
    [
      { Name: 'x', Driver: 'bridge', Options: { 'com.docker.network.bridge.name': 'br0' } },
      501,
      /bridge\.name: 'br0'/,
    ],
    [
      { Name: 'x', Driver: 'bridge', Options: { 'com.docker.network.bridge.enable_icc': 'no' } },
      400,
      /true or false is expected/,
    ],
    [{ Name: 'x', Options: { 'com.docker.network.bridge.enable_icc': 'true' } }, 501, /enable_icc/],
    [
      { Name: 'x', Driver: 'ipvlan' },
      400,
      /driver 'ipvlan' is not supported: overlay, bridge, macvlan and the network plugins/,
    ],
    [{ Name: 'x', Driver: 'bridge', Options: { encrypted: '' } }, 501, /encrypted/],
    [{ Name: 'x', EnableIPv4: false, EnableIPv6: true }, 501, /EnableIPv4 = false/],
    [ipv6('fd00:5::/80'), 403, /fd00:5::\/80 and fd00:5::\/64 of network front/],
    [ipv6('fd00:6::/64', 'fd00:7::1'), 400, /gateway fd00:7::1 is not in subnet fd00:6::\/64/],
    [ipv6('fe80::/64'), 400, /link-local/],
    [ipv6('fd00:6::/126'), 400, /from \/16 to \/125/],
    [{ ...both('fd00:6::/64', 'fd00:7::/64'), EnableIPv6: true }, 400, /has one IPv6 subnet/],
    [{ ...both('10.7.0.0/24', 'fd00:6::/121'), EnableIPv6: true }, 400, /smaller than 10\.7\.0\.0\/24/],
    [{ ...ipv6('fd00:6::/64'), Options: { 'com.docker.network.driver.mtu': '1279' } }, 400, /1280/],
    [{ Name: 'x', IPAM: { Config: [{ Subnet: '10.5.0.128/25' }] } }, 403, /overlaps/],
    [{ Name: 'x', IPAM: { Config: [{ Subnet: '10.6.0.7' }] } }, 400, /CIDR/],
    [both('10.7.0.0/24', '10.5.0.0/25'), 403, /10\.5\.0\.0\/25 and 10\.5\.0\.0\/24 of network front/],
    [both('10.7.0.0/24', '10.7.0.0/25'), 400, /10\.7\.0\.0\/25 overlaps with 10\.7\.0\.0\/24 of the same/],
    [both('10.7.0.0/24', 'fd00::/64'), 400, /no IPv6 unless it is asked for/],
    [{ Name: 'x', IPAM: { Config: [{ Subnet: '10.7.0.0/24' }, {}] } }, 400, /needs a subnet/],
    [{ Name: 'ingress' }, 403, /predefined/],
    [{ Name: 'a b' }, 400, /no valid network name/],
  ];
  for (const [body, status, message] of refusals) {
    const answer = await create(body);
    t.is(answer.status, status, JSON.stringify(body));
    t.regex(answer.json.message, message);
  }
  const network = await api.get('/networks/front?scope=swarm');
  t.like(network, { Id: made.json.Id, Driver: 'overlay', Scope: 'swarm', Labels: { a: 'b' } });
  t.true(network.EnableIPv6);
  t.deepEqual(network.IPAM.Config, [
    { Subnet: '10.5.0.0/24' },
    { Subnet: 'fd00:5::/64', Gateway: 'fd00:5::1' },
  ]);
  t.deepEqual(network.Options, { encrypted: '' });
  t.is((await api.get(`/networks?${filtersOf({ label: { 'a=b': true } })}`)).length, 1);
  t.is((await create({ ...both('10.7.0.0/24', '10.8.0.0/24'), Name: 'wide' })).status, 201);
  t.deepEqual((await api.get('/networks/wide')).IPAM.Config, [
    { Subnet: '10.7.0.0/24' },
    { Subnet: '10.8.0.0/24' },
  ]);
  await createService(api, 'web', { Networks: [{ Target: 'front', Aliases: ['www'] }] });
  const [service] = await api.get('/services');
  t.deepEqual(service.Spec.TaskTemplate.Networks, [{ Target: made.json.Id, Aliases: ['www'] }]);
  const used = await api.send('DELETE', '/networks/front');
  t.is(used.status, 403);
  t.regex(used.json.message, /network front is in use by service web/);
  await api.send('DELETE', '/services/web');
  t.is((await api.send('DELETE', '/networks/front')).status, 204);
  t.is(api.store.get('names', 'network:front'), undefined);
});

test('a network made twice has a name that is taken, whatever else; default is nobody’s name', async (t) => {
  await using api = await ApiFixture.up();
  const spec = { Name: 'net', Driver: 'overlay', IPAM: { Config: [{ Subnet: '10.77.0.0/24' }] } };
  t.is((await api.send('POST', '/networks/create', spec)).status, 201);
  const again = await api.send('POST', '/networks/create', spec);
  t.is(again.status, 409);
  t.regex(again.json.message, /network with name net already exists/);
  const other = await api.send('POST', '/networks/create', { ...spec, Name: 'net2' });
  t.is(other.status, 403);
  t.regex(other.json.message, /^Pool overlaps .* of network net$/);
  const reserved = await api.send('POST', '/networks/create', { Name: 'default', Driver: 'overlay' });
  t.is(reserved.status, 403);
  t.regex(reserved.json.message, /predefined default network/);
});

test('a network that a service is leaving is removed when the service is gone', async (t) => {
  await using api = await ApiFixture.up();
  await api.send('POST', '/networks/create', { Name: 'net', Driver: 'overlay' });
  const id = await createService(api, 'web', { Networks: [{ Target: 'net' }] });
  api.obeys = false;
  await api.send('DELETE', '/services/web');
  const removal = api.send('DELETE', '/networks/net');
  await api.get('/_ping').catch(() => undefined);
  t.not(api.store.get('names', 'network:net'), undefined);
  await api.write([{ table: 'services', key: id, value: null }]);
  t.is((await removal).status, 204);
});

function container(id: string, more: Partial<ContainerInfo> = {}): ContainerInfo {
  const task = id.slice(0, 4);
  const names = { id, taskId: `task-${task}`, name: `web.1.${task}` };
  return containerInfo({ ...names, args: ['-g'], startedAtMs: Date.now() - 90_000, ...more });
}

test('containers of all nodes; a node that is away or slow is left out and named', async (t) => {
  await using api = await ApiFixture.up(3);
  const id = (digit: string): string => digit.repeat(64);
  api.nodes
    .get('nodea1')
    ?.containers.push(container(id('a')), container(id('b'), { state: 'exited', exitCode: 3 }));
  api.nodes.get('nodea2')?.containers.push(container(id('c')));
  const all = await api.send('GET', '/containers/json?all=1');
  t.deepEqual(all.json.map((c: Json) => c.Id[0]).sort(), ['a', 'b', 'c']);
  t.is(all.headers['x-shoal-nodes-missing'], undefined);
  const running = await api.get('/containers/json');
  t.deepEqual(running.map((c: Json) => [c.Id[0], c.Status]).sort(), [
    ['a', 'Up About a minute'],
    ['c', 'Up About a minute'],
  ]);
  t.is(
    (await api.get(`/containers/json?${filtersOf({ label: ['com.docker.swarm.service.name=web'] })}`)).length,
    2,
  );
  t.is((await api.get('/containers/aaaa/json')).State.Running, true);
  t.is((await api.get('/containers/web.1.cccc/json')).Node.ID, 'nodea2');
  const gone = api.nodes.get('nodea2');
  if (gone !== undefined) gone.connected = false;
  const slow = api.nodes.get('nodea3');
  if (slow !== undefined) slow.silent = true;
  const partial = await api.send('GET', '/containers/json?all=1');
  t.deepEqual(partial.json.map((c: Json) => c.Id[0]).sort(), ['a', 'b']);
  t.deepEqual(String(partial.headers['x-shoal-nodes-missing']).split(',').sort(), ['nodea2', 'nodea3']);
});

function say(api: ApiFixture, task: Json, ...texts: string[]): void {
  const records = texts.map((text, i) => ({
    stream: text.startsWith('!') ? (2 as const) : (1 as const),
    data: Buffer.from(`2026-01-01T00:00:0${i}.000000000Z ${text}\n`),
  }));
  api.nodes.get(task.NodeID)?.logs.set(task.Status.ContainerStatus.ContainerID, records);
}

test('service logs: all tasks, frames, details, timestamps, tail; a node that is away says so on stderr', async (t) => {
  await using api = await ApiFixture.up();
  const id = await createService(api, 'web');
  await api.write([...runningTask(serviceOf(api, id), 2, 'nodea2')]);
  const [one, two] = await api.get('/tasks');
  say(api, one, 'first', '!wrong');
  say(api, two, 'second');
  const plain = await api.send('GET', '/v1.47/services/web/logs?stdout=1&stderr=1');
  t.is(plain.headers['content-type'], 'application/vnd.docker.multiplexed-stream');
  t.deepEqual(
    framesOf(plain.body)
      .map((f) => `${f.stream} ${f.text}`)
      .sort(),
    ['1 first\n', '1 second\n', '2 wrong\n'.replace('wrong', '!wrong')],
  );
  t.is(
    (await api.send('GET', '/v1.41/services/web/logs?stdout=1')).headers['content-type'],
    'application/vnd.docker.raw-stream',
  );
  const detailed = await api.send(
    'GET',
    `/tasks/${one.ID}/logs?stdout=1&stderr=1&details=1&timestamps=1&tail=1`,
  );
  t.deepEqual(framesOf(detailed.body), [
    {
      stream: 2,
      text: `2026-01-01T00:00:01.000000000Z com.docker.swarm.node.id=${one.NodeID},com.docker.swarm.service.id=${id},com.docker.swarm.task.id=${one.ID} !wrong\n`,
    },
  ]);
  t.is((await api.send('GET', '/services/web/logs')).status, 400, 'no stream is chosen');
  t.is((await api.send('GET', '/services/web/logs?stdout=1&since=yesterday')).status, 400);
  const away = api.nodes.get('nodea2');
  if (away !== undefined) away.connected = false;
  const partial = framesOf((await api.send('GET', '/services/web/logs?stdout=1&stderr=1&details=1')).body);
  t.true(partial.some((f) => f.text.endsWith(' first\n')));
  const apology = partial.find((f) => f.text.includes('incomplete'));
  t.is(apology?.stream, 2);
  t.regex(
    apology?.text ?? '',
    /^com\.docker\.swarm\.node\.id=nodea2,\S+ shoal: logs of task \S+ on node a2 are incomplete/,
  );
});

/** A response that stays open. */
function open(
  api: ApiFixture,
  path: string,
): { opened: () => boolean; text: () => string; ended: () => boolean; close: () => void } {
  const state = { text: '', opened: false, ended: false };
  const req = request({ socketPath: api.socket, path }, (res) => {
    state.opened = true;
    res.on('data', (part: Buffer) => {
      state.text += part.toString();
    });
    res.on('close', () => {
      state.ended = true;
    });
  });
  req.on('error', () => {
    state.ended = true;
  });
  req.end();
  return {
    opened: () => state.opened,
    text: () => state.text,
    ended: () => state.ended,
    close: () => req.destroy(),
  };
}

test('followed logs take in tasks that come later, and end when the service is gone', async (t) => {
  await using api = await ApiFixture.up();
  const id = await createService(api, 'web');
  const service = serviceOf(api, id);
  const [one] = await api.get('/tasks');
  say(api, one, 'first');
  const stream = open(api, '/services/web/logs?stdout=1&follow=1');
  await until(() => stream.text().includes('first'), 'the first task');
  const writes = runningTask(service, 2, 'nodea2');
  const status = writes[1]?.value as Json;
  api.nodes
    .get('nodea2')
    ?.logs.set(status.container.containerId, [
      { stream: 1, data: Buffer.from('2026-01-01T00:00:00Z later\n') },
    ]);
  await api.write(writes);
  await until(() => stream.text().includes('later'), 'the second task');
  t.false(stream.ended());
  stream.close();
});

test('events: what changes while it is open, filters, and the past with since and until', async (t) => {
  await using api = await ApiFixture.up();
  const began = Date.now() / 1000 - 5;
  const live = open(api, `/events?${filtersOf({ type: ['service', 'node'] })}`);
  await createService(api, 'web');
  await api.send('DELETE', '/services/web');
  const { Version, Spec } = await api.get('/nodes/a2');
  await api.send('POST', `/nodes/a2/update?version=${Version.Index}`, { ...Spec, Availability: 'pause' });
  const events = (text: string): Json[] =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  await until(() => events(live.text()).length >= 3, 'three events');
  t.deepEqual(
    events(live.text()).map((e) => [e.Type, e.Action, e.Actor.Attributes.name]),
    [
      ['service', 'create', 'web'],
      ['service', 'remove', 'web'],
      ['node', 'update', 'a2'],
    ],
  );
  live.close();
  const past = await api.send(
    'GET',
    `/events?since=${began}&until=${Date.now() / 1000}&${filtersOf({ type: ['container'] })}`,
  );
  t.deepEqual(
    events(past.body.toString()).map((e) => e.Action),
    ['create', 'start', 'destroy'],
  );
});

test('stopping the manager ends what is open', async (t) => {
  const api = await ApiFixture.up();
  const live = open(api, '/events');
  await until(live.opened, 'the stream');
  await api[Symbol.asyncDispose]();
  await until(live.ended, 'the end of the stream');
  t.pass();
});

test('swarm and info: join tokens, and what the CLI looks for', async (t) => {
  await using api = await ApiFixture.up();
  const swarm = await api.get('/swarm');
  t.regex(swarm.JoinTokens.Worker, /^SHOAL-1-/);
  t.not(swarm.JoinTokens.Worker, swarm.JoinTokens.Manager);
  const info = await api.get('/info');
  t.like(info.Swarm, {
    NodeID: 'nodea1',
    ControlAvailable: true,
    LocalNodeState: 'active',
    Nodes: 2,
    Managers: 1,
  });
  t.true(Number(info.ServerVersion.split('.')[0]) >= 20);
  t.is(info.NCPU, 4);
  t.false(JSON.stringify(info).includes('SHOAL-1-'), 'no secret in /info');
});
