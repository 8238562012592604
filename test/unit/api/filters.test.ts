/** The filters of every list, in both ways that clients write them, and with old versions in the path. */
import test from 'ava';
import type { Service } from '../../../shared/model/index.ts';
import { ApiFixture, type Json, runningTask } from './fixture.ts';

type Filters = Readonly<Record<string, readonly string[]>>;

interface Case {
  readonly filters: Filters;
  readonly found: readonly string[];
}

interface List {
  readonly path: string;
  readonly name: (item: Json) => string;
  readonly cases: readonly Case[];
  /** Values that are refused. */
  readonly refused?: readonly Filters[];
}

const of = (filters: Filters, ...found: string[]): Case => ({ filters, found });
const specName = (item: Json): string => item.Spec.Name;

/** Three nodes; web (replicated, two tasks) and mon (global); a secret and a config each of two. */
async function scene(): Promise<{ api: ApiFixture; ids: Record<string, string> }> {
  const api = await ApiFixture.up(3);
  api.obeys = false;
  const made = async (path: string, body: object): Promise<string> => {
    const { status, json } = await api.send('POST', path, body);
    if (status !== 201) throw new Error(`${path}: ${json.message}`);
    return json.ID ?? json.Id;
  };
  const template = { ContainerSpec: { Image: 'nginx' } };
  const web = await made('/services/create', {
    Name: 'web',
    Labels: { tier: 'front' },
    TaskTemplate: template,
  });
  const mon = await made('/services/create', { Name: 'mon', Mode: { Global: {} }, TaskTemplate: template });
  const service = (id: string): Service => api.store.get('services', id) as Service;
  await api.write([
    ...runningTask(service(web), 1, 'nodea1'),
    ...runningTask(service(web), 2, 'nodea2'),
    ...runningTask(service(mon), 0, 'nodea3', true),
  ]);
  const [one, two] = [...api.store.tasksOfService(web)].toSorted(
    (a, b) => (api.store.get('tasks', a)?.slot ?? 0) - (api.store.get('tasks', b)?.slot ?? 0),
  );
  const stopped = api.store.get('tasks', two ?? '');
  if (stopped === undefined) throw new Error('there is no second task');
  await api.write([{ table: 'tasks', key: stopped.id, value: { ...stopped, desired: 'shutdown' } }]);
  const Data = Buffer.from('x').toString('base64');
  const ids: Record<string, string> = { web, mon, one: one ?? '', two: two ?? '' };
  for (const kind of ['secrets', 'configs']) {
    ids[kind] = await made(`/${kind}/create`, { Name: `${kind}-key`, Labels: { use: 'tls' }, Data });
    await made(`/${kind}/create`, { Name: `${kind}-key-old`, Data });
  }
  const { Version, Spec } = await api.get('/nodes/a2');
  const labelled = { ...Spec, Labels: { zone: 'b' } };
  await api.send('POST', `/nodes/a2/update?version=${Version.Index}`, labelled);
  return { api, ids };
}

function lists(ids: Record<string, string>): readonly List[] {
  const id = (name: string): string => ids[name] ?? '';
  const files = (kind: string): List => ({
    path: `/${kind}`,
    name: specName,
    cases: [
      of({}, `${kind}-key`, `${kind}-key-old`),
      of({ id: [id(kind).slice(0, 8)] }, `${kind}-key`),
      of({ label: ['use'] }, `${kind}-key`),
      of({ label: ['use=ssh'] }),
      of({ name: [`${kind}-key`] }, `${kind}-key`, `${kind}-key-old`),
      of({ names: [`${kind}-key`] }, `${kind}-key`),
    ],
  });
  return [
    files('secrets'),
    files('configs'),
    {
      path: '/nodes',
      name: (node) => node.Description.Hostname,
      cases: [
        of({}, 'a1', 'a2', 'a3'),
        of({ id: ['nodea2'] }, 'a2'),
        of({ name: ['a3', 'a1'] }, 'a1', 'a3'),
        of({ label: ['disk=ssd'] }, 'a1', 'a2', 'a3'),
        of({ 'node.label': ['zone'] }, 'a2'),
        of({ 'node.label': ['zone=a'] }),
        of({ role: ['manager'] }, 'a1'),
        of({ role: ['worker', 'manager'], name: ['a2'] }, 'a2'),
        of({ membership: ['accepted'] }, 'a1', 'a2', 'a3'),
        of({ membership: ['pending'] }),
      ],
      refused: [{ role: ['boss'] }, { membership: ['maybe'] }],
    },
    {
      path: '/services',
      name: specName,
      cases: [
        of({}, 'mon', 'web'),
        of({ id: [id('web').slice(0, 10)] }, 'web'),
        of({ name: ['we'] }, 'web'),
        of({ label: ['tier=front'] }, 'web'),
        of({ mode: ['global'] }, 'mon'),
        of({ mode: ['replicated', 'global'] }, 'mon', 'web'),
        of({ runtime: ['container'] }, 'mon', 'web'),
        of({ runtime: ['plugin'] }),
      ],
    },
    {
      path: '/tasks',
      name: (task) => `${task.NodeID.slice(4)}`,
      cases: [
        of({}, 'a1', 'a2', 'a3'),
        of({ 'desired-state': ['running'] }, 'a1', 'a3'),
        of({ 'desired-state': ['shutdown', 'accepted'] }, 'a2'),
        of({ id: [id('one').slice(0, 10)] }, 'a1'),
        of({ label: ['tier=front'] }, 'a1', 'a2'),
        of({ name: ['web.2'] }, 'a2'),
        of({ node: ['a3'] }, 'a3'),
        of({ node: ['self'] }, 'a1'),
        of({ service: ['web'] }, 'a1', 'a2'),
        of({ service: [id('mon')] }, 'a3'),
        of({ service: ['web'], node: ['a2'] }, 'a2'),
        of({ runtime: ['container'] }, 'a1', 'a2', 'a3'),
        of({ runtime: ['plugin'] }),
        of({ '_up-to-date': ['true'] }, 'a1', 'a2', 'a3'),
        of({ '_up-to-date': ['false'] }),
      ],
      refused: [{ 'desired-state': ['lost'] }],
    },
  ];
}

test('every filter of every list finds what it names, as a list and as a map of flags', async (t) => {
  const { api, ids } = await scene();
  await using _ = api;
  for (const { path, name, cases } of lists(ids)) {
    for (const { filters, found } of cases) {
      const flags = Object.entries(filters).map(([key, values]) => [
        key,
        Object.fromEntries(values.map((value) => [value, true])),
      ]);
      for (const written of [filters, Object.fromEntries(flags)]) {
        const text = JSON.stringify(written);
        const items: Json[] = await api.get(`/v1.24${path}?filters=${encodeURIComponent(text)}`);
        t.deepEqual(items.map(name).toSorted(), [...found], `${path} ${text}`);
      }
    }
  }
});

test('a filter that there is not is Docker’s 400, and so is a value that can not be', async (t) => {
  const { api, ids } = await scene();
  await using _ = api;
  const ask = (path: string, filters: unknown) =>
    api.send('GET', `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`);
  const paths = lists(ids).map(({ path }) => path);
  for (const path of [...paths, '/networks', '/containers/json', '/events']) {
    const unknown = await ask(path, { colour: ['red'] });
    t.deepEqual([unknown.status, unknown.json.message], [400, "invalid filter 'colour'"], path);
    for (const bad of [[], 'a', { name: 5 }, 5]) t.is((await ask(path, bad)).status, 400, path);
    t.is((await api.send('GET', `${path}?filters=%7B`)).status, 400, path);
  }
  for (const { path, refused = [] } of lists(ids))
    for (const filters of refused) t.is((await ask(path, filters)).status, 400, JSON.stringify(filters));
});

test('all versions from 1.24 to 1.47 are spoken; others get Docker’s text', async (t) => {
  const { api } = await scene();
  await using _ = api;
  const reads = [
    '/_ping',
    '/version',
    '/info',
    '/swarm',
    '/nodes',
    '/services',
    '/tasks',
    '/networks',
    '/secrets',
  ];
  for (let minor = 24; minor <= 47; minor += 1) {
    for (const path of minor % 23 === 1 ? reads : reads.slice(0, 3)) {
      const { status, headers } = await api.send('GET', `/v1.${minor}${path}`);
      t.deepEqual([status, headers['api-version']], [200, '1.47'], `/v1.${minor}${path}`);
    }
  }
  const refused: [string, string][] = [
    [
      '1.23',
      'client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    ],
    ['1.48', 'client version 1.48 is too new. Maximum supported API version is 1.47'],
    ['2.0', 'client version 2.0 is too new. Maximum supported API version is 1.47'],
    [
      '0.9',
      'client version 0.9 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
    ],
  ];
  for (const [version, message] of refused) {
    const { status, json } = await api.send('GET', `/v${version}/info`);
    t.deepEqual([status, json.message], [400, message]);
  }
});
