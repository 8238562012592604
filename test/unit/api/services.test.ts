import test from 'ava';
import { decodeServiceSpec } from '../../../manager/api/codec/service-spec-codec.ts';
import { checkServiceSpec } from '../../../manager/api/validate/service-spec.ts';
import { type Json, ApiFixture } from './fixture.ts';

interface Options {
  readonly TaskTemplate?: object;
  readonly [field: string]: unknown;
}

function body(name: string, options: Options = {}): object {
  const { TaskTemplate, ...rest } = options;
  return { Name: name, ...rest, TaskTemplate: { ContainerSpec: { Image: 'nginx:1' }, ...TaskTemplate } };
}

async function create(api: ApiFixture, name: string, options: Options = {}): Promise<string> {
  const { status, json } = await api.send('POST', '/services/create', body(name, options));
  if (status !== 201) throw new Error(`${status} ${json?.message}`);
  return json.ID;
}

test('create stores name, service and first revision in one commit; inspect shows it with defaults', async (t) => {
  await using api = await ApiFixture.up();
  const before = api.store.commits;
  api.obeys = false;
  const id = await create(api, 'web');
  t.is(api.store.commits, before + 1);
  t.deepEqual(api.store.get('names', 'service:web'), { id });
  t.is(api.store.get('revisions', `${id}.1`)?.spec.name, 'web');
  for (const ref of [id, 'web', id.slice(0, 6)]) {
    const service = await api.get(`/services/${ref}?insertDefaults=true`);
    t.is(service.ID, id);
    t.is(service.Version.Index, api.store.version('services', id));
    t.is(service.Spec.Mode.Replicated.Replicas, 1);
    t.is(service.Spec.TaskTemplate.RestartPolicy.Condition, 'any');
    t.is(service.Spec.UpdateConfig.Parallelism, 1);
  }
});

test('a service without a name gets one', async (t) => {
  await using api = await ApiFixture.up();
  const ids = await Promise.all([create(api, ''), create(api, '')]);
  const names = await Promise.all(
    ids.map(async (id) => (await api.get(`/services/${id}`)).Spec.Name as string),
  );
  for (const name of names) t.regex(name, /^[a-z]+_[a-z]+\d*$/);
});

test('a name that is taken is 409 with the text that clients look for', async (t) => {
  await using api = await ApiFixture.up();
  await create(api, 'web');
  const { status, json } = await api.send('POST', '/services/create', body('web'));
  t.is(status, 409);
  t.is(
    json.message,
    'rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists',
  );
});

test('of many that create one name at once, one wins', async (t) => {
  await using api = await ApiFixture.up();
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => api.send('POST', '/services/create', body('web'))),
  );
  t.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(9).fill(409)]);
});

test('invariant 8: what Shoal does not know is refused by its path, what is malformed by field', async (t) => {
  await using api = await ApiFixture.up();
  const refused = async (spec: object): Promise<[number, string]> => {
    const { status, json } = await api.send('POST', '/services/create', spec);
    return [status, json.message];
  };
  const container = {
    Image: 'a',
    MaskedPaths: ['/x'],
    Other: [1],
    Configs: [],
  };
  t.deepEqual(await refused(body('a', { TaskTemplate: { ContainerSpec: container } })), [
    501,
    'service spec: not supported by Shoal: TaskTemplate.ContainerSpec.MaskedPaths, TaskTemplate.ContainerSpec.Other',
  ]);
  t.regex((await refused(body('a', { Mode: { Global: {}, GlobalJob: {} } })))[1], /only one service mode/);
  const job = { Mode: { GlobalJob: {} }, UpdateConfig: { Parallelism: 1 } };
  t.regex((await refused(body('a', job)))[1], /UpdateConfig: update config cannot be used with jobs/);
  const [status, message] = await refused(body('a', { Mode: { Replicated: { Replicas: -1 } } }));
  t.is(status, 400);
  t.regex(message, /Mode\.Replicated\.Replicas/);
  t.regex((await refused({ Name: 'a' }))[1], /TaskTemplate/);
  t.regex((await refused(body('not a name')))[1], /name: 'not a name' is no valid name/);
  t.regex(
    (await refused(body('a', { TaskTemplate: { ContainerSpec: { Image: 'Bad Image' } } })))[1],
    /repository\/tag/,
  );
  const port = { TargetPort: 80, PublishedPort: 80 };
  t.regex((await refused(body('a', { EndpointSpec: { Mode: 'dnsrr', Ports: [port] } })))[1], /dnsrr/);
  const ports = (...all: object[]) =>
    body('a', { EndpointSpec: { Ports: all.map((one) => ({ ...port, ...one })) } });
  t.regex((await refused(ports({}, {})))[1], /ports: 80\/tcp is published twice/);
  const all = ports({ HostIp: '::1' }, { HostIp: '127.0.0.1' }, { HostIp: '0.0.0.0' });
  t.regex(
    (await refused(all))[1],
    /0\.0\.0\.0:80\/tcp is published, and so is 127\.0\.0\.1:80\/tcp: they have/,
  );
  t.regex(
    (await refused(ports({ HostIp: '::1' }, {})))[1],
    /80\/tcp is published, and so is \[::1\]:80\/tcp/,
  );
  t.regex((await refused(ports({}, { PublishMode: 'host' })))[1], /80\/tcp is published twice/);
  const placement = { Placement: { Constraints: ['node.colour==red'] } };
  t.regex((await refused(body('a', { TaskTemplate: placement })))[1], /unknown key "node.colour"/);
  const mounts = { ContainerSpec: { Image: 'a', Mounts: [{ Type: 'bind', Source: 'rel', Target: '/' }] } };
  t.regex((await refused(body('a', { TaskTemplate: mounts })))[1], /mounts: \/: .*absolute path/);
  t.is(api.store.all('services').size, 0);
});

test('fields without an effect are named in Warnings', async (t) => {
  await using api = await ApiFixture.up();
  const { json } = await api.send(
    'POST',
    '/services/create',
    body('a', { TaskTemplate: { LogDriver: { Name: 'local', Options: { tag: 'x' } } } }),
  );
  t.regex(json.Warnings[0], /LogDriver: tag: kept without an effect/);
});

test('an alias that nobody could look up is refused by its name', async (t) => {
  const withAliases = (...aliases: string[]): readonly string[] => {
    const spec = { ...decodeServiceSpec(body('a')).spec, networks: [{ network: 'n', aliases }] };
    return checkServiceSpec(spec).map(({ field, message }) => `${field}: ${message}`);
  };
  t.deepEqual(withAliases('db', 'db.example.com', '_x', 'a-b', 'A', 'x'.repeat(63)), []);
  for (const alias of ['', '.', 'a..b', '-a', 'a-', 'a b', 'ä', 'a'.repeat(64), `${'a.'.repeat(130)}a`]) {
    const [problem = '', ...more] = withAliases('fine', alias);
    t.true(problem.startsWith(`networks.aliases: '${alias}': `), problem);
    t.deepEqual(more, []);
  }
  t.regex(withAliases('Tasks.db')[0] ?? '', /'tasks\.' before a service's name lists its tasks/);
});

test('a port keeps the address that it is bound to when a docker client, which knows none, updates', async (t) => {
  await using api = await ApiFixture.up();
  const http = { TargetPort: 80, PublishedPort: 8080 };
  const ports = (list: object[]): Options => ({ EndpointSpec: { Ports: list } });
  const id = await create(api, 'web', ports([{ ...http, HostIp: '127.0.0.1' }]));
  const boundTo = async (list: object[]): Promise<unknown[]> => {
    const { Version } = (await api.send('GET', `/services/${id}`)).json;
    const { status, json } = await api.send(
      'POST',
      `/services/${id}/update?version=${Version.Index}`,
      body('web', ports(list)),
    );
    t.is(status, 200, JSON.stringify(json));
    const { Spec } = (await api.send('GET', `/services/${id}`)).json;
    return Spec.EndpointSpec.Ports.map((port: { HostIp?: string }) => port.HostIp);
  };
  t.deepEqual(await boundTo([http]), ['127.0.0.1']);
  t.deepEqual(await boundTo([http, { TargetPort: 81, PublishedPort: 8081 }]), ['127.0.0.1', undefined]);
  t.deepEqual(await boundTo([{ ...http, HostIp: '2001:DB8:0::1' }]), ['2001:db8::1']);
  const several = [
    { ...http, HostIp: '::1' },
    { ...http, HostIp: '127.0.0.1' },
  ];
  t.deepEqual(await boundTo(several), ['::1', '127.0.0.1']);
  t.deepEqual(await boundTo([http, http]), ['::1', '127.0.0.1'], 'as the client reads it');
  t.deepEqual(await boundTo([http]), ['::1', '127.0.0.1'], 'as it sends it when it adds a port');
  t.deepEqual(await boundTo([{ ...http, HostIp: '0.0.0.0' }]), ['0.0.0.0'], 'who knows it may open it');
  const { json } = await api.send(
    'POST',
    '/services/create',
    body('other', ports([{ ...http, HostIp: 'ff02::1' }])),
  );
  t.regex(json.message, /EndpointSpec\.Ports\.HostIp: 'ff02::1': .*: multicast is none/);
});

test('a port of the mesh belongs to one service', async (t) => {
  await using api = await ApiFixture.up();
  const EndpointSpec = { Ports: [{ TargetPort: 80, PublishedPort: 8080, PublishMode: 'ingress' }] };
  const id = await create(api, 'web', { EndpointSpec });
  const { status, json } = await api.send('POST', '/services/create', body('other', { EndpointSpec }));
  t.is(status, 400);
  t.regex(
    json.message,
    new RegExp(`port '8080' is already in use by service 'web' \\(${id}\\) as an ingress port`),
  );
  const udp = { Ports: [{ TargetPort: 80, PublishedPort: 8080, Protocol: 'udp' }] };
  await create(api, 'udp', { EndpointSpec: udp });
  const refusal = async (port: object): Promise<string> => {
    const spec = { Ports: [{ TargetPort: 80, PublishedPort: 8080, ...port }] };
    return (await api.send('POST', '/services/create', body('x', { EndpointSpec: spec }))).json.message;
  };
  const at = await refusal({ HostIp: '127.0.0.1' });
  t.regex(at, /port '127\.0\.0\.1:8080' is already .* service 'web' .* as an ingress port, 8080\/tcp$/);
  t.regex(
    await refusal({ PublishMode: 'host' }),
    /port '8080' is already .* service 'web' .* as an ingress port$/,
  );
  const host = { Ports: [{ TargetPort: 80, PublishedPort: 8081, PublishMode: 'host', HostIp: '::1' }] };
  await create(api, 'host', { EndpointSpec: host });
  await create(api, 'host2', { EndpointSpec: host });
  t.regex(
    await refusal({ PublishedPort: 8081 }),
    /'8081' .* service 'host' .* host-published port, \[::1\]:8081\/tcp$/,
  );
  const local = { Ports: [{ TargetPort: 80, PublishedPort: 8081, HostIp: '127.0.0.1' }] };
  await create(api, 'local', { EndpointSpec: local });
});

test('update: version, new revision, unchanged spec, stale version, and rollback', async (t) => {
  await using api = await ApiFixture.up();
  const id = await create(api, 'web', { Mode: { Replicated: {} } });
  const read = () => api.get(`/services/${id}`);
  const update = async (change: (spec: Json) => void, query = '') => {
    const { Version, Spec } = await read();
    change(Spec);
    return api.send('POST', `/services/${id}/update?version=${Version.Index}${query}`, Spec);
  };
  t.is(
    (
      await update((spec) => {
        spec.TaskTemplate.ContainerSpec.Image = 'nginx:2';
      })
    ).status,
    200,
  );
  t.like(api.store.get('services', id), { revision: 2, previousRevision: 1 });
  t.is((await read()).PreviousSpec.TaskTemplate.ContainerSpec.Image, 'nginx:1');

  t.is((await update(() => undefined)).status, 200);
  t.is(api.store.get('services', id)?.revision, 2, 'the same spec makes no revision');

  const stale = await api.send('POST', `/services/${id}/update?version=1`, (await read()).Spec);
  t.is(stale.status, 500);
  t.is(stale.json.message, 'rpc error: code = Unknown desc = update out of sequence');

  const rename = await update((spec) => {
    spec.Name = 'other';
  });
  t.regex(rename.json.message, /renaming services is not supported/);
  const mode = await update((spec) => {
    spec.Mode = { Global: {} };
  });
  t.regex(mode.json.message, /mode change is not allowed/);

  t.is((await update(() => undefined, '&rollback=previous')).status, 200);
  const rolledBack = await read();
  t.is(rolledBack.Spec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
  t.is(rolledBack.UpdateStatus.State, 'rollback_started');
  t.like(api.store.get('services', id), { revision: 3, previousRevision: 2 });
});

test('registry credentials are kept through updates and never shown', async (t) => {
  await using api = await ApiFixture.up();
  const auth = Buffer.from('{"username":"u","password":"secret"}').toString('base64url');
  const { json } = await api.send('POST', '/services/create', body('web'), { 'x-registry-auth': auth });
  const shown = await api.get(`/services/${json.ID}`);
  t.false(JSON.stringify(shown).includes(auth));
  shown.Spec.Labels = { a: 'b' };
  const path = `/services/${json.ID}/update?version=${shown.Version.Index}&registryAuthFrom=spec`;
  t.is((await api.send('POST', path, shown.Spec, { 'x-registry-auth': 'e30=' })).status, 200);
  t.is(api.store.get('revisions', `${json.ID}.2`)?.spec.registryAuth, auth);
});

test('removed is gone for readers at once; a creation of that name waits until it really is', async (t) => {
  await using api = await ApiFixture.up();
  const id = await create(api, 'web');
  api.obeys = false;
  t.is((await api.send('DELETE', '/services/web')).status, 200);
  t.true(api.store.get('services', id)?.removing);
  t.is((await api.send('GET', '/services/web')).status, 404);
  t.is((await api.send('DELETE', '/services/web')).status, 404);
  t.deepEqual(await api.get('/services'), []);
  let created: string | undefined;
  const creation = create(api, 'web').then((next) => {
    created = next;
  });
  await api.get('/services');
  t.is(created, undefined);
  await api.write([
    { table: 'services', key: id, value: null },
    { table: 'names', key: 'service:web', value: null },
  ]);
  await creation;
  t.truthy(created);
  t.not(created, id);
});

test('list: filters, and counts with status=true', async (t) => {
  await using api = await ApiFixture.up(3);
  await create(api, 'web', { Labels: { tier: 'front' }, Mode: { Replicated: { Replicas: 4 } } });
  await create(api, 'agent', { Mode: { Global: {} } });
  const names = async (filters: object): Promise<string[]> =>
    (await api.get(`/services?filters=${encodeURIComponent(JSON.stringify(filters))}`)).map(
      (s: Json) => s.Spec.Name,
    );
  t.deepEqual(await names({ name: ['we'] }), ['web']);
  t.deepEqual(await names({ label: { 'tier=front': true } }), ['web']);
  t.deepEqual(await names({ label: ['tier=back'] }), []);
  t.deepEqual(await names({ mode: ['global'] }), ['agent']);
  t.is((await api.send('GET', '/services?filters=%7B%22colour%22%3A%5B%22x%22%5D%7D')).status, 400);
  const all = await api.get('/services?status=true');
  t.deepEqual(
    all.map((s: Json) => s.ServiceStatus),
    [
      { RunningTasks: 4, DesiredTasks: 4, CompletedTasks: 0 },
      { RunningTasks: 3, DesiredTasks: 3, CompletedTasks: 0 },
    ],
  );
});

test('tasks: the filters of service ps, stack ps, and convergence', async (t) => {
  await using api = await ApiFixture.up();
  const labels = { 'com.docker.stack.namespace': 's' };
  const id = await create(api, 'web', { Labels: labels, Mode: { Replicated: { Replicas: 2 } } });
  await create(api, 'db');
  const list = (filters: object): Promise<Json[]> =>
    api.get(`/tasks?filters=${encodeURIComponent(JSON.stringify(filters))}`);
  t.is((await list({ service: ['web'] })).length, 2);
  t.is((await list({ label: ['com.docker.stack.namespace=s'] })).length, 2);
  t.is((await list({ node: { a1: true }, service: [id] })).length, 1);
  const { Spec, Version } = await api.get(`/services/${id}`);
  Spec.TaskTemplate.ForceUpdate = 1;
  await api.send('POST', `/services/${id}/update?version=${Version.Index}`, Spec);
  const tasks = await list({ service: ['web'] });
  t.is(tasks.length, 4);
  t.deepEqual(
    (await list({ service: ['web'], '_up-to-date': ['true'] })).map((task) => task.DesiredState),
    ['running', 'running'],
  );
  t.is((await list({ service: ['web'], 'desired-state': ['shutdown'] })).length, 2);
  for (const task of tasks) {
    t.is(task.Spec.ContainerSpec.Image, 'nginx:1');
    t.is(typeof task.Status.ContainerStatus.ContainerID, 'string');
  }
  t.is((await api.get(`/tasks/${tasks[0].ID}`)).ServiceID, id);
});
