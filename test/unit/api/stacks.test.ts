import test from 'ava';
import { checkSourceSize } from '../../../manager/api/ops/stack-revisions.ts';
import { specOutdated } from '../../../manager/plan/reconcile/dirty.ts';
import { type Json, ApiFixture } from './fixture.ts';

const FILE = `services:
  web:
    image: nginx:\${TAG:-1}
    ports: ["8080:80"]
    networks: [front]
  db:
    image: redis
networks:
  front:
`;

const YAML = { 'content-type': 'application/yaml' };

function deploy(api: ApiFixture, name: string, file: string, query = '') {
  return api.send('PUT', `/stacks/${name}${query}`, file, YAML);
}

const actions = (list: { name: string; action: string }[]): string[] =>
  list.map((one) => `${one.name} ${one.action}`);

test('a file is deployed; the same file again changes nothing', async (t) => {
  await using api = await ApiFixture.up();
  const first = await deploy(api, 's', FILE);
  t.is(first.status, 200, first.body.toString());
  t.deepEqual(actions(first.json.services), ['s_web created', 's_db created']);
  t.deepEqual(actions(first.json.networks).sort(), ['s_default created', 's_front created']);
  const front = api.store.get('names', 'network:s_front')?.id;
  const web = await api.get('/services/s_web');
  t.deepEqual(web.Spec.TaskTemplate.Networks, [{ Target: front, Aliases: ['web'] }]);
  api.obeys = false;
  const commits = api.store.commits;
  const again = await deploy(api, 's', FILE);
  t.deepEqual(actions(again.json.services), ['s_web unchanged', 's_db unchanged']);
  t.is(api.store.commits, commits, 'nothing is written');
  t.is((await api.get('/stacks/s')).compose, FILE);
  t.deepEqual(
    (await api.get('/stacks')).map((s: Json) => s.name),
    ['s'],
  );
});

test('allow-lists of a stack: a change of them updates the network and the service, and replaces no task', async (t) => {
  await using api = await ApiFixture.up();
  const file = (network: string, from: string): string =>
    `services:\n  a: {image: x, networks: [n]}\n  b: {image: x, networks: [n], x-shoal-allow-from: ${from}}\nnetworks:\n  n: {x-shoal-allow: ${network}}\n`;
  const first = await deploy(api, 's', file('["a>b:80"]', '[a, b:icmp]'));
  t.is(first.status, 200, first.body.toString());
  const labels = async (path: string) => (await api.get(path)).Labels;
  t.is((await labels('/networks/s_n'))['shoal.allow'], 'a>b:80');
  t.is((await api.get('/services/s_b')).Spec.Labels['shoal.allow-from'], 'a,b:icmp');
  const diff = await api.send('POST', '/stacks/s/diff', file('[]', '[]'), YAML);
  t.deepEqual(actions(diff.json.networks), ['s_n update']);
  const second = await deploy(api, 's', file('[]', '[]'));
  t.deepEqual(actions(second.json.networks), ['s_n updated']);
  t.deepEqual(actions(second.json.services), ['s_a unchanged', 's_b updated']);
  t.is((await labels('/networks/s_n'))['shoal.allow'], 'none');
  const revision = (n: number) =>
    api.store.get('revisions', `${api.store.get('names', 'service:s_b')?.id}.${n}`)?.spec;
  const [old, now] = [revision(1), revision(2)];
  t.false(old === undefined || now === undefined || specOutdated(old, now));
});

test('only what differs is updated; prune removes what the file has no more', async (t) => {
  await using api = await ApiFixture.up();
  await deploy(api, 's', FILE);
  const variables = await api.send(
    'PUT',
    '/stacks/s',
    { compose: FILE, variables: { TAG: '2' } },
    { 'content-type': 'application/json' },
  );
  t.deepEqual(actions(variables.json.services), ['s_web updated', 's_db unchanged']);
  t.is((await api.get('/services/s_web')).Spec.TaskTemplate.ContainerSpec.Image, 'nginx:2');
  const smaller = 'services:\n  db:\n    image: redis\n';
  t.deepEqual(actions((await deploy(api, 's', smaller)).json.services), ['s_db unchanged']);
  const pruned = await deploy(api, 's', smaller, '?prune=1');
  t.deepEqual(actions(pruned.json.services), ['s_db unchanged', 's_web removed']);
  t.deepEqual(actions(pruned.json.networks), ['s_default unchanged', 's_front removed']);
  t.is((await api.send('GET', '/services/s_web')).status, 404);
});

test('a file with problems is refused with all of them and their places, and nothing is written', async (t) => {
  await using api = await ApiFixture.up();
  const commits = api.store.commits;
  const file = `services:
  web:
    image: nginx
    runtime: kata
    hostname: "a b"
    deploy: {placement: {constraints: [oops]}, endpoint_mode: dnsrr}
    ports: ["80:80"]
  two:
    image: nginx
    colour: red
`;
  const first = await deploy(api, 's', file);
  t.is(first.status, 400);
  t.deepEqual(
    first.json.errors.map((e: Json) => `${e.line}:${e.column} ${e.key}`),
    ['4:5 services.web.runtime', '10:5 services.two.colour'],
  );
  t.regex(
    first.json.message,
    /line 4, column 5: services\.web\.runtime: not supported: nodes have one runtime/,
  );
  const second = await deploy(
    api,
    's',
    file.replace('    runtime: kata\n', '').replace('    colour: red\n', ''),
  );
  t.deepEqual(second.json.errors.map((e: Json) => `${e.line}:${e.column} ${e.key}`).sort(), [
    '4:5 services.web.hostname',
    '5:26 services.web.deploy.placement.constraints',
    '5:48 services.web.deploy.endpoint_mode',
  ]);
  t.is(api.store.commits, commits);
  t.is((await deploy(api, '-bad-', FILE)).status, 400);
});

test('names and ports that others hold are refused before anything is written', async (t) => {
  await using api = await ApiFixture.up();
  await deploy(api, 'one', FILE);
  const commits = api.store.commits;
  const taken = await deploy(api, 'two', FILE);
  t.deepEqual(
    taken.json.errors.map((e: Json) => e.message),
    ['services.web.ports: port 8080/tcp is already in use by service one_web'],
  );
  const twice = 'services:\n  a: {image: x, ports: ["1:1"]}\n  b: {image: x, ports: ["1:2"]}\n';
  t.regex((await deploy(api, 'two', twice)).json.message, /line 3.*port 1\/tcp is published by two_a too/);
  const external = 'services:\n  a: {image: x, networks: [n]}\nnetworks: {n: {external: true}}\n';
  t.regex((await deploy(api, 'two', external)).json.message, /line 3.*external network n does not exist/);
  t.is(api.store.commits, commits);
});

test('removal waits for the services, then the networks go; a deployment right after it works', async (t) => {
  await using api = await ApiFixture.up();
  await deploy(api, 's', FILE);
  api.obeys = false;
  const removal = api.send('DELETE', '/stacks/s');
  while ([...api.store.all('services').values()].some((service) => service.removing !== true))
    await api.get('/stacks');
  const next = deploy(api, 's', FILE);
  t.is(api.store.all('networks').size, 2, 'networks stay until the tasks have stopped');
  api.obeys = true;
  for (const service of api.store.all('services').values()) {
    await api.write([{ table: 'services', key: service.id, value: { ...service, updatedAtMs: 7 } }]);
  }
  const removed = await removal;
  t.is(removed.status, 200, removed.body.toString());
  t.deepEqual(actions((await next).json.services), ['s_web created', 's_db created']);
  t.is((await api.send('DELETE', '/stacks/none')).status, 404);
});

const JSON_BODY = { 'content-type': 'application/json' };

test('revisions: one a deployment that differs, bounded, never the values of variables; and the way back', async (t) => {
  await using api = await ApiFixture.up();
  const put = (tag: string) =>
    api.send('PUT', '/stacks/s', { compose: FILE, variables: { TAG: tag } }, JSON_BODY);
  t.is((await put('1')).json.revision, 1);
  t.is((await put('2')).json.revision, 2);
  t.is((await put('2')).json.revision, 2, 'the same again is no new one');
  const more = 'services:\n  extra: {image: x, networks: [own]}\n  db: {image: redis}\nnetworks: {own: {}}\n';
  t.is((await deploy(api, 's', more)).json.revision, 3);
  const list = await api.get('/stacks/s/revisions');
  t.deepEqual(
    list.map((one: Json) => [one.revision, one.variables]),
    [
      [3, []],
      [2, ['TAG']],
      [1, ['TAG']],
    ],
  );
  t.is((await api.get('/stacks/s/revisions/1')).compose, FILE);
  const back = await api.send('POST', '/stacks/s/rollback?revision=1');
  t.is(back.json.revision, 4);
  t.deepEqual(actions(back.json.services), ['s_web updated', 's_db unchanged', 's_extra removed']);
  t.deepEqual(actions(back.json.networks).sort(), [
    's_default unchanged',
    's_front unchanged',
    's_own removed',
  ]);
  t.is((await api.get('/services/s_web')).Spec.TaskTemplate.ContainerSpec.Image, 'nginx:1');
  t.is((await api.send('POST', '/stacks/s/rollback')).json.revision, 5, 'without a number: the one before');
  t.is((await api.send('GET', '/services/s_extra')).status, 200);
  t.regex(
    (await api.send('POST', '/stacks/s/rollback?revision=99')).json.message,
    /no revision 99; it has 5, 4, 3, 2, 1/,
  );
  t.is((await api.send('POST', '/stacks/s/rollback?revision=x')).status, 400);
  t.is((await api.send('POST', '/stacks/none/rollback')).status, 404);
  for (let i = 0; i < 20; i += 1) await put(`tag${i}`);
  const kept = await api.get('/stacks/s/revisions');
  t.deepEqual([kept.length, kept[0].revision, kept.at(-1).revision], [20, 25, 6]);
  t.is(api.store.all('stackRevisions').size, 20);
  await api.send('DELETE', '/stacks/s');
  t.is(api.store.all('stackRevisions').size, 0);
});

test('diff says what a deployment would do, by field, and writes nothing', async (t) => {
  await using api = await ApiFixture.up();
  const diff = (file: string) => api.send('POST', '/stacks/s/diff', file, YAML);
  const before = await diff(FILE);
  t.deepEqual(actions(before.json.services), ['s_web create', 's_db create']);
  t.deepEqual(actions(before.json.networks).sort(), ['s_default create', 's_front create']);
  await deploy(api, 's', FILE);
  const commits = api.store.commits;
  t.deepEqual(actions((await diff(FILE)).json.services), ['s_web unchanged', 's_db unchanged']);
  const changed = FILE.replace('nginx:${TAG:-1}', 'nginx:7').replace('  db:\n    image: redis\n', '');
  const { services, networks } = (await diff(changed)).json;
  t.deepEqual(actions(services), ['s_web update', 's_db extra']);
  t.deepEqual(actions(networks), ['s_front unchanged', 's_default extra']);
  t.deepEqual(services[0].changes, [
    { path: 'Labels.com.docker.stack.image', from: 'nginx:1', to: 'nginx:7' },
    { path: 'TaskTemplate.ContainerSpec.Image', from: 'nginx:1', to: 'nginx:7' },
  ]);
  t.is((await diff('services:\n  a: {imag: x}\n')).status, 400);
  t.is(api.store.commits, commits);
});

test('several files: what is wrong is named with its file', async (t) => {
  await using api = await ApiFixture.up();
  const body = {
    compose: [
      { path: 'compose.yaml', text: 'services:\n  web: {image: nginx, env_file: web.env}\n' },
      { path: 'prod.yaml', text: 'services:\n  web:\n    hostname: "a b"\n    colour: red\n' },
    ],
    files: { 'web.env': 'A=1\n' },
  };
  const first = await api.send('PUT', '/stacks/s', body, JSON_BODY);
  t.regex(first.json.message, /prod\.yaml, line 4, column 5: services\.web\.colour: unknown key/);
  t.is(first.json.errors[0].file, 'prod.yaml');
  const [one, two] = body.compose as [Json, Json];
  two.text = two.text.replace('    colour: red\n', '');
  const second = await api.send('PUT', '/stacks/s', { ...body, compose: [one, two] }, JSON_BODY);
  t.like(second.json.errors[0], { file: 'prod.yaml', line: 3, key: 'services.web.hostname' });
  two.text = 'services: {web: {hostname: ab}}';
  t.is((await api.send('PUT', '/stacks/s', { ...body, compose: [one, two] }, JSON_BODY)).status, 200);
  t.deepEqual((await api.get('/services/s_web')).Spec.TaskTemplate.ContainerSpec.Env, ['A=1']);
  const source = { compose: FILE, files: { a: 'x'.repeat(1024 * 1024) }, variables: {}, profiles: [] };
  t.throws(() => checkSourceSize(source), { message: /at most 1048576 are kept/ });
});

test('what only compose files can ask survives an update by a client that does not know it', async (t) => {
  await using api = await ApiFixture.up();
  await deploy(api, 's', 'services:\n  web: {image: nginx, privileged: true, shm_size: 1g}\n');
  const { Spec, Version } = await api.get('/services/s_web');
  const container = Spec.TaskTemplate.ContainerSpec;
  t.deepEqual(container.HostConfig, { Privileged: true, ShmSize: 2 ** 30 });
  const { HostConfig: _lost, ...known } = container;
  const update = async (next: Json, version: number) => {
    const spec = { ...Spec, TaskTemplate: { ...Spec.TaskTemplate, ContainerSpec: next } };
    const answer = await api.send('POST', `/services/s_web/update?version=${version}`, spec);
    t.is(answer.status, 200, answer.body.toString());
    return api.get('/services/s_web');
  };
  const kept = await update({ ...known, Image: 'nginx:2' }, Version.Index);
  t.deepEqual(kept.Spec.TaskTemplate.ContainerSpec.HostConfig, container.HostConfig);
  const gone = await update({ ...known, HostConfig: null }, kept.Version.Index);
  t.is(gone.Spec.TaskTemplate.ContainerSpec.HostConfig, undefined);
});

test('depends_on: shown, kept by an update through the Docker API, and part of the diff', async (t) => {
  await using api = await ApiFixture.up();
  const file = (condition: string): string => `services:
  db: {image: redis, healthcheck: {test: x}}
  web: {image: nginx, depends_on: {db: {condition: ${condition}}, no: {required: false}}}
`;
  api.obeys = false;
  const first = await deploy(api, 's', file('service_healthy'));
  t.is(first.status, 200, first.body.toString());
  t.regex(first.json.warnings[0].message, /service 'no' is not in the files.*it is not waited for/);
  const dependsOn = [
    { Service: 's_db', Condition: 'service_healthy', Required: true },
    { Service: 's_no', Condition: 'service_started', Required: false },
  ];
  const before = await api.get('/services/s_web');
  t.deepEqual(before.DependsOn, dependsOn);
  t.is(before.HeldBack.Failed, false);
  t.regex(before.HeldBack.Reason, /^waits for service s_db to be healthy \(0 of 1\)$/);
  t.is((await api.get('/services/s_db')).HeldBack, undefined);
  t.notRegex(JSON.stringify(before.Spec), /s_db/);

  const path = `/services/${before.ID}/update?version=${before.Version.Index}`;
  t.is(
    (await api.send('POST', path, { ...before.Spec, Labels: { ...before.Spec.Labels, a: 'b' } })).status,
    200,
  );
  t.deepEqual((await api.get('/services/s_web')).DependsOn, dependsOn);
  await deploy(api, 's', file('service_healthy'));
  const diff = await api.send('POST', '/stacks/s/diff', file('service_started'), YAML);
  t.is(diff.status, 200, diff.body.toString());
  t.deepEqual(
    diff.json.services.map((one: Json) => [one.name, one.action, one.changes.map((c: Json) => c.path)]),
    [
      ['s_db', 'unchanged', []],
      ['s_web', 'update', ['DependsOn']],
    ],
  );
});

test('restart: true under a dependency: replaced in the same deployment, and in no other', async (t) => {
  await using api = await ApiFixture.up();
  const file = (image: string, replicas = 1): string => `services:
  web: {image: nginx, depends_on: {api: {condition: service_started, restart: true}}}
  other: {image: nginx, depends_on: [db]}
  api: {image: nginx, depends_on: {db: {condition: service_started, restart: true}}}
  db: {image: "${image}", deploy: {replicas: ${replicas}}}
`;
  const done = async (image: string, replicas?: number): Promise<string[]> =>
    actions((await deploy(api, 's', file(image, replicas))).json.services);
  t.deepEqual(await done('redis:1'), ['s_db created', 's_api created', 's_web created', 's_other created']);
  t.deepEqual(await done('redis:1', 2), [
    's_db updated',
    's_api unchanged',
    's_web unchanged',
    's_other unchanged',
  ]);
  t.deepEqual(await done('redis:2', 2), [
    's_db updated',
    's_api updated',
    's_web updated',
    's_other unchanged',
  ]);
  t.is((await api.get('/services/s_web')).Spec.TaskTemplate.ForceUpdate, 1);
  t.deepEqual(await done('redis:2', 2), [
    's_db unchanged',
    's_api unchanged',
    's_web unchanged',
    's_other unchanged',
  ]);
});

test('a deployment that fails half-way says what was done, and records no revision; the next one goes on', async (t) => {
  await using api = await ApiFixture.up();
  const { store } = api;
  const file = 'services:\n  a: {image: x}\n  b: {image: x, ports: ["80:80"]}\n';
  // Somebody takes the port after the files were checked, and before service b is made.
  const undo = store.onChange((changes) => {
    const made = changes.flatMap((one) => (one.table === 'services' ? (one.after ?? []) : []));
    const own = made.find(({ name }) => name === 's_a');
    if (own === undefined || store.get('services', 'other') !== undefined) return;
    const spec = store.get('revisions', `${own.id}.1`)?.spec;
    if (spec === undefined) return;
    const ports = [{ protocol: 'tcp', targetPort: 80, publishedPort: 80, mode: 'ingress' }] as const;
    const other = { ...own, id: 'other', name: 'other' };
    const value = { id: 'other.1', serviceId: 'other', revision: 1, createdAtMs: 1 };
    void api.write([
      { table: 'services', key: 'other', value: other },
      { table: 'revisions', key: 'other.1', value: { ...value, spec: { ...spec, labels: {}, ports } } },
    ]);
  });
  const failed = await deploy(api, 's', file);
  undo();
  t.is(failed.status, 400, failed.body.toString());
  t.regex(failed.json.message, /deployed in part.*port '80' is already in use by service 'other'/);
  t.regex(failed.json.message, /done so far: network s_default created, service s_a created/);
  t.is(store.get('stacks', 's'), undefined);
  t.is((await api.send('DELETE', '/services/other')).status, 200);
  const next = await deploy(api, 's', file);
  t.deepEqual(actions(next.json.services), ['s_a unchanged', 's_b created']);
  t.is(next.json.revision, 1);
});

test('diff: secrets and configs, by name and whether their contents differ', async (t) => {
  await using api = await ApiFixture.up();
  const source = (files: string): object => ({
    compose: `services: {a: {image: x}}\n${files}`,
    contents: { files: { 'one.txt': 'b25l', 'two.txt': 'dHdv' } },
  });
  const JSON_TYPE = { 'content-type': 'application/json' };
  const first = 'secrets: {s: {file: one.txt}}\nconfigs: {c: {file: one.txt}, old: {content: x}}';
  t.is((await api.send('PUT', '/stacks/s', source(first), JSON_TYPE)).status, 200);
  const diff = async (files: string): Promise<Json> => {
    const answer = await api.send('POST', '/stacks/s/diff', source(files), JSON_TYPE);
    t.is(answer.status, 200, answer.body.toString());
    return [...answer.json.secrets, ...answer.json.configs].map((one: Json) => `${one.name} ${one.action}`);
  };
  t.deepEqual(await diff(first), ['s_s unchanged', 's_c unchanged', 's_old unchanged']);
  t.deepEqual(
    await diff('secrets: {s: {file: two.txt}, t: {file: one.txt}}\nconfigs: {c: {file: one.txt}}'),
    ['s_s update', 's_t create', 's_c unchanged', 's_old extra'],
  );
});
