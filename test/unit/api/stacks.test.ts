import test from 'ava';
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
    privileged: true
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
    ['4:5 services.web.privileged', '10:5 services.two.colour'],
  );
  t.regex(first.json.message, /line 4, column 5: services\.web\.privileged: not supported yet/);
  const second = await deploy(
    api,
    's',
    file.replace('    privileged: true\n', '').replace('    colour: red\n', ''),
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
    ['services.web.ports: port 8080 is already in use by service one_web'],
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
