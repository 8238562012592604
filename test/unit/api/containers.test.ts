/** Single containers through the API. */
import test from 'ava';
import fc from 'fast-check';
import type { z } from 'zod';
import { decodeContainer } from '../../../manager/api/codec/container-create-codec.ts';
import { zCreate, zHostConfig } from '../../../manager/api/codec/container-create-schema.ts';
import { encodeHostConfig } from '../../../manager/api/codec/host-config-codec.ts';
import { encodeMount } from '../../../manager/api/codec/mount-codec.ts';
import { notPlaced } from '../../../manager/api/returning-nodes.ts';
import { checkContainer } from '../../../manager/api/validate/container-spec.ts';
import { waitForStore } from '../../../manager/api/wait.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { serviceSpecSchema } from '../../../shared/wire/service-schema.ts';
import { Cluster } from './container-cluster.ts';
import { ApiFixture, type Json } from './fixture.ts';

test('created, started, stopped, started, killed, removed; never a service, never a task', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const id = await cluster.create('web', { Labels: { a: 'b' }, HostConfig: { Memory: 2 ** 26 } });
  t.regex(id, /^[0-9a-f]{64}$/);
  const status = async (): Promise<string> => (await api.get('/containers/web/json')).State.Status;
  t.is(await status(), 'created');
  t.is(await cluster.post('/containers/web/stop'), 304);
  t.is(await cluster.post('/containers/web/kill'), 409);
  t.is(await cluster.post('/containers/web/start'), 204);
  t.is(await cluster.post(`/containers/${id.slice(0, 12)}/start`), 304);
  t.is(await status(), 'running');
  t.deepEqual([await api.get('/services'), await api.get('/tasks')], [[], []]);
  t.is((await api.send('GET', `/services/${id.slice(0, 25)}`)).status, 404);
  const refused = await api.send('DELETE', '/containers/web');
  t.is(refused.status, 409);
  t.regex(refused.json.message, /cannot remove container "\/web": container is running/);
  t.is(await cluster.post('/containers/web/stop?t=5'), 204);
  t.is((await api.get('/containers/web/json')).State.ExitCode, 143);
  t.is(await cluster.post('/containers/web/restart'), 204);
  t.is(await cluster.post('/containers/web/kill'), 204);
  t.is((await api.get('/containers/web/json')).State.ExitCode, 137);
  t.like(await api.get('/containers/web/json'), { HostConfig: { Memory: 2 ** 26 }, RestartCount: 0 });
  t.is((await api.send('DELETE', '/containers/web')).status, 204);
  t.is((await api.send('GET', '/containers/web/json')).status, 404);
  t.is(api.store.all('services').size + api.store.all('names').size, 1, 'the ingress network’s name');
});

test('names are unique, rename moves them, and a name is free when its container is gone', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const id = await cluster.create('one');
  const again = await api.send('POST', '/containers/create?name=/one', { Image: 'busybox' });
  t.is(again.status, 409);
  t.is(
    again.json.message,
    `Conflict. The container name "/one" is already in use by container "${id}". ` +
      'You have to remove (or rename) that container to be able to reuse that name.',
  );
  t.is(await cluster.post('/containers/one/rename?name=two'), 204);
  t.is((await api.get('/containers/two/json')).Name, '/two');
  t.is((await api.send('GET', '/containers/one/json')).status, 404);
  await cluster.create('one');
  t.is(await cluster.post('/containers/one/rename?name=two'), 409);
  t.is((await api.send('DELETE', '/containers/two?force=1')).status, 204);
  await cluster.create('two');
  t.deepEqual(await cluster.names(), ['/one', '/two']);
  t.is(await cluster.post('/containers/create?name=a/b', { Image: 'busybox' }), 400);
});

test('what can not be made leaves nothing: no image, no node, no port, a command that is not there', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const make = async (body: object): Promise<[number, string]> => {
    const { status, json } = await api.send('POST', '/containers/create', { Image: 'busybox', ...body });
    return [status, json.message];
  };
  t.deepEqual(await make({ Image: 'nosuch' }), [404, 'No such image: nosuch']);
  const labels = { 'com.docker.swarm.constraints': '["node.hostname==none"]' };
  const [status, message] = await make({ Labels: labels });
  t.is(status, 409);
  t.regex(message, /^no suitable node \(constraint node\.hostname==none not met on 2 nodes\)$/);
  const bindings = { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } };
  await cluster.create('first', { HostConfig: bindings });
  const taken = await make({ HostConfig: bindings });
  t.deepEqual(taken, [409, 'Bind for 0.0.0.0:8080 failed: port is already allocated to container first']);
  const at = (...ips: string[]) => ({
    HostConfig: { PortBindings: { '80/tcp': ips.map((HostIp) => ({ HostIp, HostPort: '8080' })) } },
  });
  t.deepEqual(await make(at('[::1]')).then(([, message]) => /invalid address/.test(message)), true);
  const bound = await make(at('::1'));
  t.deepEqual(bound, [409, 'Bind for [::1]:8080 failed: port is already allocated to container first']);
  t.deepEqual(await cluster.names(), ['/first']);

  const id = await cluster.create('bad');
  cluster.broken.add(id.slice(0, 25));
  const started = await api.send('POST', '/containers/bad/start');
  t.is(started.status, 400);
  t.regex(started.json.message, /executable file not found/);
  t.is((await api.send('DELETE', '/containers/bad')).status, 204);
});

test('wait: not-running, next-exit and removed, with the exit code', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const id = await cluster.create('ww', { HostConfig: { AutoRemove: true } });
  const wait = (condition: string) => api.send('POST', `/containers/ww/wait?condition=${condition}`);
  t.deepEqual((await wait('not-running')).json, { StatusCode: 0 });
  const [next, removed] = [wait('next-exit'), wait('removed')];
  t.is(await cluster.post('/containers/ww/start'), 204);
  await cluster.end(id, 7);
  t.deepEqual([(await next).json, (await removed).json], [{ StatusCode: 7 }, { StatusCode: 7 }]);
  t.is((await wait('removed')).status, 404);
  await cluster.create('ww');
  t.is((await wait('nosuch')).status, 400);
});

test('events: create, start, die and destroy, once each', async (t) => {
  await using cluster = await Cluster.up();
  const seen: string[] = [];
  const { api } = cluster;
  const id = await cluster.create('ee');
  await cluster.post('/containers/ee/start');
  await cluster.end(id, 3);
  await cluster.post('/containers/ee/start');
  await cluster.post('/containers/ee/stop');
  await api.send('DELETE', '/containers/ee');
  const until = Math.ceil(Date.now() / 1000) + 1;
  const { body } = await api.send('GET', `/events?since=1&until=${until}&filters={"type":["container"]}`);
  for (const line of body.toString().trim().split('\n')) {
    const { Action, Actor }: Json = JSON.parse(line);
    t.is(Actor.ID, id);
    seen.push(Action === 'die' ? `die ${Actor.Attributes.exitCode}` : Action);
  }
  t.deepEqual(seen, ['create', 'start', 'die 3', 'start', 'die 143', 'stop', 'destroy']);
});

test('a service’s container is refused what its service decides', async (t) => {
  await using api = await ApiFixture.up();
  const created = await api.send('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'nginx' } },
  });
  t.is(created.status, 201);
  const [task] = await api.get('/tasks');
  const id = task.Status.ContainerStatus.ContainerID;
  const info = {
    ...{ id, taskId: task.ID, name: 'web.1.x', image: 'nginx', imageId: 'sha256:a', serviceId: 's' },
    ...{ serviceName: 'web', slot: 1, labels: {}, path: 'n', args: [], env: [], createdAtMs: 1 },
    ...{ state: 'running' as const, pid: 1, logPath: '', networks: [] },
  };
  api.nodes.get(task.NodeID)?.containers.push(info);
  for (const action of ['start', 'restart', 'rename?name=x', 'update']) {
    const { status, json } = await api.send('POST', `/containers/${id}/${action}`, {});
    t.is(status, 409, action);
    t.regex(json.message, /belongs to service web, which decides over it/);
  }
  t.is((await api.send('DELETE', `/containers/${id}?force=1`)).status, 409);

  const asked: string[] = [];
  const node = api.nodes.get(task.NodeID);
  node?.answers.set('container.wait', () => (asked.push('wait'), { exitCode: 4 }));
  node?.answers.set('container.until-removed', () => (asked.push('until-removed'), {}));
  const waited = async (condition: string): Promise<unknown> =>
    (await api.send('POST', `/containers/${id}/wait?condition=${condition}`)).json;
  t.deepEqual([await waited('not-running'), asked], [{ StatusCode: 4 }, ['wait']]);
  t.deepEqual([await waited('removed'), asked], [{ StatusCode: 4 }, ['wait', 'wait', 'until-removed']]);
});

test('prune removes what does not run and fits', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  for (const name of ['aa', 'bb', 'cc']) await cluster.create(name, { Labels: { [name]: '1' } });
  await cluster.post('/containers/aa/start');
  const prune = async (filters: object) =>
    (await api.send('POST', `/containers/prune?filters=${JSON.stringify(filters)}`)).json;
  t.deepEqual(await prune({ until: ['1h'] }), { ContainersDeleted: null, SpaceReclaimed: 0 });
  t.is((await prune({ 'label!': ['cc'] })).ContainersDeleted.length, 1);
  t.deepEqual(await cluster.names(), ['/aa', '/cc']);
  t.is((await prune({})).ContainersDeleted.length, 1);
  t.deepEqual(await cluster.names(), ['/aa']);
});

test('fields that Shoal does not have are refused with their names', (t) => {
  const refuse = (pattern: RegExp, host: object, config: object = {}): void => {
    t.throws(() => decodeContainer({ Image: 'a', ...config, HostConfig: host }), { message: pattern });
  };
  refuse(
    /HostConfig\.CgroupParent \(.* their agent.*\), HostConfig\.KernelMemory \(kernels have it no more\)$/,
    {
      CgroupParent: '/x',
      KernelMemory: 5,
      Links: [],
      OomKillDisable: false,
    },
  );
  for (const mac of ['01:00:00:00:00:01', '00:00:00:00:00:00', '02:42:ac:11:00', '02:42-ac:11:00:02', 'x'])
    refuse(/invalid MAC address .*: that of one device is expected/, {}, { MacAddress: mac });
  const mac = '02:42:ac:11:00:02';
  const macOn = (name: string, MacAddress = mac) => ({
    NetworkingConfig: { EndpointsConfig: { [name]: { MacAddress } } },
  });
  refuse(/mac-address and the network mode host/, { NetworkMode: 'host' }, { MacAddress: mac });
  refuse(/mac-address and the network mode none/, { NetworkMode: 'none' }, macOn('none'));
  refuse(/links and the network mode container/, { NetworkMode: 'container:x', Links: ['a'] });
  refuse(/must match the endpoint-specific MAC/, {}, { ...macOn('n', '02:42:ac:11:00:03'), MacAddress: mac });
  refuse(/Links: not supported by Shoal on network bridge, where/, { Links: ['a:b'] });
  refuse(/bad format for links: 'a:b:c'/, { NetworkMode: 'n', Links: ['a:b:c'] });
  refuse(/HostConfig\.PidMode: 'host' or 'container:NAME' is expected/, { PidMode: 'service:x' });
  refuse(/conflicting options: port publishing and the container type network mode/, {
    NetworkMode: 'container:x',
    PortBindings: { '80/tcp': [{ HostPort: '80' }] },
  });
  refuse(/conflicting options: dns and/, { NetworkMode: 'container:x', Dns: ['1.1.1.1'] });
  refuse(/address fe80::1 for 80\/tcp: .*: a link-local address is not routed/, {
    PortBindings: { '80/tcp': [{ HostIp: 'fe80::1' }] },
  });
  refuse(/invalid port specification: "80\/foo"/, { PortBindings: { '80/foo': [{}] } });
  for (const HostPort of ['8010-8000', '0-10', '8000-70000', '-80', '80-', '1-2-3'])
    refuse(
      new RegExp(`"${HostPort}" for 80/tcp: a number, or a range such as 8000-8010, up to 65535 is expected`),
      { PortBindings: { '80/tcp': [{ HostPort }] } },
    );
  refuse(/option 'huge=always' of \/x/, { Tmpfs: { '/x': 'exec,huge=always' } });
  refuse(/Duplicate mount point: \/x/, { Binds: ['/a:/x', 'v:/x'] });
  refuse(/invalid mode: nosuch/, { Binds: ['/a:/x:nosuch'] });
  refuse(/can't create 'AutoRemove'/, { AutoRemove: true, RestartPolicy: { Name: 'always' } });
  refuse(/maximum retry count can only be used/, { RestartPolicy: { Name: 'always', MaximumRetryCount: 3 } });
  refuse(/Nano CPUs and CPU Quota/, { NanoCpus: 1, CpuQuota: 1 });
  const static6 = { EndpointsConfig: { n: { IPAMConfig: { IPv6Address: 'fd00::9' } } } };
  refuse(/EndpointsConfig\.n\.IPAMConfig\.IPv6Address/, {}, { NetworkingConfig: static6 });
  const IPAMConfig = { IPv4Address: '10.0.0.9' };
  for (const NetworkMode of ['bridge', 'none', 'host', 'container:c']) {
    const NetworkingConfig = { EndpointsConfig: { [NetworkMode]: { IPAMConfig } } };
    refuse(/supported on user defined networks only/, { NetworkMode }, { NetworkingConfig });
  }
});

test('what a client asks for is what the container is', (t) => {
  const { spec, warnings, asked } = decodeContainer({
    Image: 'a',
    Cmd: 'one word',
    Entrypoint: ['sh', '-c'],
    Env: ['A={{.X}}'],
    Volumes: { '/anon': {} },
    StopTimeout: 0,
    HostConfig: {
      Binds: ['/host:/h:ro,rslave', 'data:/d:nocopy', '/made'],
      Tmpfs: { '/run': 'size=64k,mode=1770' },
      CpuQuota: 25_000,
      PidsLimit: -1,
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 },
      NetworkMode: 'net',
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', tag: 'x' } },
      PortBindings: { '53/udp': [{ HostPort: '' }], '80': [{ HostPort: '80' }, { HostPort: '81' }] },
    },
    NetworkingConfig: { EndpointsConfig: { other: { Aliases: ['x'] }, net: { Aliases: ['y'] } } },
  });
  t.like(spec.container, { command: ['sh', '-c'], args: ['one word'], env: ['A={{.X}}'], stopGraceNs: 0 });
  t.deepEqual(spec.container.mounts, [
    { kind: 'volume', source: '', target: '/anon', readOnly: false },
    {
      kind: 'bind',
      source: '/host',
      target: '/h',
      readOnly: true,
      createSource: true,
      propagation: 'rslave',
    },
    { kind: 'volume', source: 'data', target: '/d', readOnly: false, noCopy: true },
    { kind: 'volume', source: '', target: '/made', readOnly: false },
    { kind: 'tmpfs', target: '/run', readOnly: false, sizeBytes: 65_536, mode: 0o1770 },
  ]);
  t.deepEqual(spec.limits, { nanoCpus: 250_000_000 });
  t.like(spec.restart, { condition: 'on-failure', maxAttempts: 3 });
  t.deepEqual(spec.networks, [
    { network: 'net', aliases: ['y'] },
    { network: 'other', aliases: ['x'] },
  ]);
  t.deepEqual(
    spec.ports.map((port) => `${port.publishedPort}:${port.targetPort}/${port.protocol}`).toSorted(),
    ['0:53/udp', '80:80/tcp', '81:80/tcp'],
  );
  const ranged = { PortBindings: { '80/tcp': [{ HostPort: '81-90' }, { HostPort: '91-91' }] } };
  t.deepEqual(
    decodeContainer({ Image: 'a', HostConfig: ranged }).spec.ports.map((port) => [
      port.publishedPort,
      port.among,
    ]),
    [
      [0, [81, 90]],
      [91, undefined],
    ],
  );
  t.deepEqual(warnings, ['LogConfig: tag: kept without an effect']);
  t.is((asked.hostConfig as Json).CpuQuota, 25_000);
  t.deepEqual(decodeContainer({ Image: 'a', HostConfig: { NetworkMode: 'host' } }).spec.container.runtime, {
    network: 'host',
  });
  const bare = { MaskedPaths: [], ReadonlyPaths: ['/proc/x'], Annotations: { a: 'b' }, CpusetMems: '0-1' };
  const { runtime } = decodeContainer({ Image: 'a', HostConfig: bare }).spec.container;
  const asList = { maskedPaths: [], readOnlyPaths: ['/proc/x'] };
  t.deepEqual(runtime, { ...asList, annotations: { a: 'b' }, cpusetMems: '0-1' });
  t.deepEqual(encodeHostConfig(runtime ?? {}), bare);
  const unsaid = { MaskedPaths: null, Annotations: {}, CpusetMems: '' };
  t.is(decodeContainer({ Image: 'a', HostConfig: unsaid }).spec.container.runtime, undefined);
  const shared = { NetworkMode: 'container:a', PidMode: 'container:b', IpcMode: 'shareable' };
  t.deepEqual(decodeContainer({ Image: 'a', HostConfig: shared }).spec.container.runtime, {
    networkOf: 'a',
    pidOf: 'b',
    ipcShareable: true,
  });
});

test('parts of images are mounted; a bind is read-only without what is mounted below', (t) => {
  const of = (...Mounts: object[]) =>
    decodeContainer({ Image: 'a', HostConfig: { Mounts } }).spec.container.mounts;
  const image = { Type: 'image', Source: 'b:1', Target: '/i', ImageOptions: { Subpath: 'etc' } };
  const bind = { Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true };
  const mounts = of(image, { ...bind, BindOptions: { ReadOnlyNonRecursive: true } });
  t.deepEqual(mounts, [
    { kind: 'image', source: 'b:1', target: '/i', readOnly: true, subpath: 'etc' },
    { kind: 'bind', source: '/a', target: '/b', readOnly: true, readOnlyBelow: false },
  ]);
  t.deepEqual(mounts.map(encodeMount), [
    { ...image, ReadOnly: true },
    { ...bind, BindOptions: { ReadOnlyNonRecursive: true } },
  ]);
  const problemsOf = (...given: object[]) =>
    checkContainer({ image: 'a', labels: {}, command: [], args: [], env: [], mounts: of(...given) }).map(
      ({ message }) => message,
    );
  t.deepEqual(problemsOf(image, { ...bind, BindOptions: { ReadOnlyNonRecursive: true } }), []);
  t.regex(problemsOf({ ...image, Source: 'UPPER' })[0] ?? '', /'UPPER' is not a valid repository/);
  t.regex(problemsOf({ ...image, ImageOptions: { Subpath: '../x' } })[0] ?? '', /relative path in the image/);
  const writable = { ...bind, ReadOnly: false, BindOptions: { ReadOnlyNonRecursive: true } };
  t.regex(problemsOf(writable)[0] ?? '', /for a bind that is read-only/);
});

test('a MAC address is that of its first device, links are names on its first network', (t) => {
  const of = (config: object, host: object = {}) =>
    decodeContainer({ Image: 'a', ...config, HostConfig: host }).spec;
  const MacAddress = '02-42-AC-11-00-02';
  const mac = '02:42:ac:11:00:02';
  const endpoints = (EndpointsConfig: object) => ({ NetworkingConfig: { EndpointsConfig } });
  t.deepEqual(of({ MacAddress }).container.runtime, { macAddress: mac });
  t.deepEqual(of(endpoints({ default: { MacAddress } })).container.runtime, { macAddress: mac });
  const on = of({ MacAddress, ...endpoints({ n: {}, m: { MacAddress: '02:00:00:00:00:01' } }) });
  t.is(on.container.runtime, undefined);
  t.deepEqual(
    on.networks.map(({ network, macAddress }) => [network, macAddress]),
    [
      ['n', mac],
      ['m', '02:00:00:00:00:01'],
    ],
  );
  const id = 'a'.repeat(64);
  const Links = ['db', '/store:/web/s', `${id}:b`];
  const linked = of(endpoints({ n: { Links: ['db:db', 'x:y'] }, m: {} }), { NetworkMode: 'n', Links });
  t.deepEqual(linked.networks[0]?.links, [
    { name: 'db', alias: 'db' },
    { name: 'x', alias: 'y' },
    { name: 'store', alias: 's' },
    { name: id.slice(0, 12), alias: 'b' },
  ]);
  t.is(linked.networks[1]?.links, undefined);
});

test('a seccomp profile is the content of the file that the client read', (t) => {
  const profile =
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}';
  const of = (...SecurityOpt: string[]) =>
    decodeContainer({ Image: 'a', HostConfig: { SecurityOpt } }).spec.container;
  t.like(of(`seccomp=${profile}`, 'no-new-privileges'), { seccompProfile: profile, noNewPrivileges: true });
  t.like(of('seccomp=unconfined'), { seccompUnconfined: true, seccompProfile: undefined });
  t.is(of('seccomp=builtin').seccompProfile, undefined);
  t.throws(() => of('seccomp=/on/the/server.json'), { message: /not supported by Shoal: 'seccomp=\/on/ });
});

test('an AppArmor profile and an SELinux label are read as Docker reads them; what turns them off asks for nothing', (t) => {
  const of = (...SecurityOpt: string[]) =>
    decodeContainer({ Image: 'a', HostConfig: { SecurityOpt } }).spec.container;
  t.deepEqual(of('apparmor=/usr/bin/x', 'apparmor:web').runtime, { appArmorProfile: 'web' });
  t.deepEqual(of('label=type:web_t', 'label:level:s0:c1,c2').selinux, { type: 'web_t', level: 's0:c1,c2' });
  for (const off of [
    ['apparmor=web', 'apparmor=unconfined'],
    ['label=type:t', 'label=disable'],
    ['label:disable'],
  ]) {
    t.is(of(...off).runtime, undefined);
    t.is(of(...off).selinux, undefined);
  }
  const wrong = [
    ['apparmor=', /SecurityOpt: 'apparmor=': the name of an AppArmor profile is expected/],
    [
      'label=web_t',
      /'label=web_t': 'label=disable', or 'label=' with user:, role:, type: or level: and a value/,
    ],
    ['label=filetype:x', /'label=' with user:/],
    ['label=type:', /type '': such as container_t is expected/],
    ['label=level:s0 c1', /level 's0 c1': such as s0:c1,c2 is expected/],
  ] as const;
  for (const [option, message] of wrong) t.throws(() => of(option), { message });
});

const word = fc.constantFrom('', 'a', '/a', 'a:b', '/a:/b:ro', '80/tcp', '0', '-1', 'host', 'always', '{{');
const value: fc.Arbitrary<unknown> = fc.oneof(
  word,
  fc.integer(),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.jsonValue(),
  fc.array(word, { maxLength: 3 }),
  fc.dictionary(word, fc.oneof(word, fc.constant({}), fc.array(fc.dictionary(word, word), { maxLength: 2 }))),
);

function fieldsOf(schema: z.ZodObject): fc.Arbitrary<object> {
  const fields = Object.keys(schema.shape).map((key) => [key, value] as const);
  return fc.record(Object.fromEntries(fields), { requiredKeys: [] });
}

test('whatever is sent, the answer names what is wrong: never a failure of the manager', async (t) => {
  await using cluster = await Cluster.up();
  const host = fieldsOf(zHostConfig);
  const body = fc
    .tuple(fieldsOf(zCreate), fc.oneof(host, host, host, value))
    .map(([config, hostConfig]) => ({ ...config, Image: 'busybox', HostConfig: hostConfig }));
  const allowed = [201, 400, 403, 404, 409, 501];
  let made = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 9, arbitrary: body }, { weight: 1, arbitrary: value }),
      async (sent) => {
        const { status, json } = await cluster.api.send('POST', '/containers/create', JSON.stringify(sent));
        if (!allowed.includes(status)) throw new Error(`${status} ${JSON.stringify(json)}`);
        if (status !== 201) return;
        made += 1;
        // What was taken can be carried to a node, and shown.
        for (const { spec } of cluster.api.store.all('revisions').values()) serviceSpecSchema.parse(spec);
        await cluster.api.get(`/containers/${json.Id}/json`);
        await cluster.api.get('/containers/json?all=1');
        t.is((await cluster.api.send('DELETE', `/containers/${json.Id}`)).status, 204);
      },
    ),
    { numRuns: 400 },
  );
  // One field at a time is often right.
  for (const key of Object.keys(zHostConfig.shape)) {
    await fc.assert(
      fc.asyncProperty(value, async (sent) => {
        const config = { Image: 'busybox', HostConfig: { [key]: sent } };
        const { status, json } = await cluster.api.send('POST', '/containers/create', config);
        if (!allowed.includes(status)) throw new Error(`${key}: ${status} ${JSON.stringify(json)}`);
        if (status !== 201) return;
        made += 1;
        for (const { spec } of cluster.api.store.all('revisions').values()) serviceSpecSchema.parse(spec);
        t.is((await cluster.api.send('DELETE', `/containers/${json.Id}`)).status, 204);
      }),
      { numRuns: 20 },
    );
  }
  t.true(made > 50, `${made} were made`);
});

test('a client that goes away while its container is made leaves nothing', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  cluster.idle = true;
  const client = new AbortController();
  const request = api.send('POST', '/containers/create?name=gone', { Image: 'busybox' }, {}, client.signal);
  await waitForStore(api.store, () => api.store.all('services').size === 1, 10_000, api.stopping.signal);
  client.abort();
  await t.throwsAsync(request);
  cluster.idle = false;
  const empty = (): boolean => api.store.all('services').size === 0;
  await waitForStore(
    api.store,
    () => [...api.store.all('services').values()].every((s) => s.removing),
    10_000,
    api.stopping.signal,
  );
  await cluster.wake();
  t.true(await waitForStore(api.store, empty, 10_000, api.stopping.signal));
});

test('after a manager’s restart: nodes that come back are waited for, by creations and by what is on one of them', async (t) => {
  await using cluster = await Cluster.up();
  const { api } = cluster;
  const set = async (status: 'ready' | 'unknown' | 'down', ...ids: string[]): Promise<void> => {
    const nodes = ids.flatMap((id) => api.store.get('nodes', id) ?? []);
    await api.write(nodes.map((node) => ({ table: 'nodes', key: node.id, value: { ...node, status } })));
    for (const id of ids) {
      const node = api.nodes.get(id);
      if (node !== undefined) node.connected = status === 'ready';
    }
  };
  const undone = async (work: Promise<unknown>): Promise<boolean> =>
    (await Promise.race([work, delay(100, api.stopping.signal).then(() => 'waits')])) === 'waits';
  await set('unknown', 'nodea1', 'nodea2');
  const early = cluster.create('early');
  t.true(await undone(early));
  await set('down', 'nodea1');
  await set('ready', 'nodea2');
  await early;
  // The image was found, and then the manager restarted: the task is placed on a node, once there is one.
  const inspect = api.nodes.get('nodea2')?.answers.get('image.inspect');
  api.nodes.get('nodea2')?.answers.set('image.inspect', async (params: Json) => {
    await set('unknown', 'nodea2');
    return inspect?.(params);
  });
  const pending = cluster.create('pending');
  t.true(await undone(pending));
  const reason = [...api.store.all('tasks').values()].find((task) => task.pendingReason !== undefined);
  t.regex(reason?.pendingReason ?? '', /status is unknown on 1 node/);
  await set('ready', 'nodea2');
  await pending;
  await set('unknown', 'nodea2');
  const started = cluster.post('/containers/early/start');
  t.true(await undone(started));
  await set('ready', 'nodea2');
  t.is(await started, 204);
  await set('down', 'nodea2');
  t.is(await cluster.post('/containers/pending/start'), 503, 'one that is down is not waited for');
});

test('why a task is not placed: named at once, but where nodes may come back; then with how long they were waited for', (t) => {
  const full = 'no suitable node (insufficient memory on 2 nodes)';
  t.is(notPlaced(full, false)?.message, full);
  const unknown = 'no suitable node (insufficient memory on 1 node; status is unknown on 1 node)';
  t.is(notPlaced(unknown, false), undefined);
  t.is(notPlaced(unknown, true)?.message, `${unknown}; waited 8 s for nodes to report`);
  t.truthy(
    notPlaced('no suitable node (constraint node.labels.is==status is unknown not met on 2 nodes)', false),
  );
});

test('a new container with a volume of no node is refused, and not with the words for a missing image', async (t) => {
  await using cluster = await Cluster.up();
  const body = { Image: 'busybox', HostConfig: { Binds: ['a/b:/y'] } };
  const { status, json } = await cluster.api.send('POST', '/containers/create', body);
  t.is(status, 400, 'with 404 the client would pull');
  t.regex(json.message, /^volume a\/b: .*node a not found$/);
});
