/** Names of volumes over several nodes, and where new ones go. */
import test from 'ava';
import fc from 'fast-check';
import { goFileMode } from '../../../manager/api/codec/path-stat-codec.ts';
import { ConflictError, NotFoundError } from '../../../shared/errors/index.ts';
import type { NewVolume, VolumeInfo } from '../../../shared/model/node-methods/index.ts';
import { ApiFixture } from './fixture.ts';

/** Gives a node of the fixture volumes that behave. */
function holdVolumes(api: ApiFixture, nodeId: string, freeBytes = 1e9): VolumeInfo[] {
  const volumes: VolumeInfo[] = [];
  const node = api.nodes.get(nodeId);
  if (node === undefined) throw new Error(`no node ${nodeId}`);
  const find = (name: string): VolumeInfo => {
    const found = volumes.find((one) => one.name === name);
    if (found === undefined) throw new NotFoundError(`get ${name}: no such volume`);
    return found;
  };
  const drop = (name: string): void => {
    const { usedBy } = find(name);
    if (usedBy.length > 0)
      throw new ConflictError(`remove ${name}: volume is in use - [${usedBy.join(', ')}]`);
    volumes.splice(volumes.indexOf(find(name)), 1);
  };
  const answer = (method: string, params: unknown): unknown => {
    const { name = '', names = [] } = params as { name?: string; names?: string[] };
    switch (method) {
      case 'volume.list':
        return { volumes, freeBytes };
      case 'volume.inspect':
        return find(name);
      case 'volume.create': {
        const known = volumes.find((one) => one.name === name);
        const volume = known ?? {
          ...(params as NewVolume),
          createdAtMs: 1,
          mountpoint: `/v/${name}`,
          usedBy: [],
        };
        if (known === undefined) volumes.push(volume);
        return { volume, created: known === undefined };
      }
      case 'volume.remove':
        drop(name);
        return {};
      case 'volume.prune':
        for (const each of names) drop(each);
        return { removed: names, bytes: 10 * names.length };
      default:
        throw new Error(method);
    }
  };
  for (const method of ['list', 'inspect', 'create', 'remove', 'prune'])
    node.answers.set(`volume.${method}`, (params) => answer(`volume.${method}`, params));
  return volumes;
}

const names = (answer: { Volumes: { Name: string }[] }): string[] => answer.Volumes.map(({ Name }) => Name);

test('a new volume goes where there is most room, of equals where there are fewest; one that exists is given back', async (t) => {
  await using api = await ApiFixture.up(3);
  const volumes = [1, 2, 3].map((n) => holdVolumes(api, `nodea${n}`, n === 1 ? 1e9 : 9e9));
  const made = [];
  for (const Name of ['one', 'two', 'three', 'one'])
    made.push((await api.send('POST', '/volumes/create', { Name })).json);
  t.deepEqual(
    made.map((one) => [one.Name, one.Status.Node]),
    [
      ['one', 'a2'],
      ['two', 'a3'],
      ['three', 'a2'],
      ['one', 'a2'],
    ],
  );
  t.deepEqual(
    volumes.map((held) => held.length),
    [0, 2, 1],
  );
  const drained = api.store.get('nodes', 'nodea2');
  if (drained === undefined) throw new Error('no node');
  await api.write([
    {
      table: 'nodes',
      key: 'nodea2',
      value: { ...drained, spec: { ...drained.spec, availability: 'drain' } },
    },
  ]);
  for (const Name of ['four', 'five'])
    t.is((await api.send('POST', '/volumes/create', { Name })).json.Status.Node, 'a3');
  t.is((await api.send('POST', '/volumes/create', { Name: 'a1/six' })).json.Status.Node, 'a1');
  t.regex((await api.send('POST', '/volumes/create', {})).json.Name, /^[0-9a-f]{64}$/);
});

test('a name on two nodes is shown with its node, and refused without', async (t) => {
  await using api = await ApiFixture.up(2);
  const [one, two] = [holdVolumes(api, 'nodea1'), holdVolumes(api, 'nodea2')];
  for (const Name of ['a1/x', 'a2/x', 'a2/only']) await api.send('POST', '/volumes/create', { Name });
  t.deepEqual(names(await api.get('/volumes')), ['a1/x', 'a2/x', 'only']);
  const refused = await api.send('GET', '/volumes/x');
  t.is(refused.status, 400);
  t.regex(refused.json.message, /ambiguous.*a1\/x, a2\/x/);
  t.is((await api.send('DELETE', '/volumes/x')).status, 400);
  t.is((await api.get('/volumes/a2/x')).Name, 'a2/x');
  t.is((await api.get('/volumes/a2%2Fx')).Name, 'a2/x');
  t.is((await api.send('DELETE', '/volumes/nodea2/x')).status, 204);
  t.deepEqual([one.length, two.length], [1, 1]);
  t.is((await api.get('/volumes/x')).Status.Node, 'a1');
  t.is((await api.send('GET', '/volumes/nosuch/x')).status, 404);
});

test('statuses: in use 409, unknown 404, force, update, what is not supported', async (t) => {
  await using api = await ApiFixture.up(2);
  const held = holdVolumes(api, 'nodea1');
  holdVolumes(api, 'nodea2');
  held.push({ name: 'busy', options: {}, labels: {}, createdAtMs: 1, mountpoint: '/v', usedBy: ['c1'] });
  const status = async (method: string, path: string, body?: unknown) =>
    (await api.send(method, path, body)).status;
  t.is(await status('DELETE', '/volumes/busy'), 409);
  t.is(await status('DELETE', '/volumes/busy?force=1'), 409);
  t.is(await status('DELETE', '/volumes/nosuch'), 404);
  t.is(await status('DELETE', '/volumes/nosuch?force=true'), 204);
  t.is(await status('PUT', '/volumes/busy', { Spec: {} }), 400);
  t.is(await status('PUT', '/volumes/nosuch', { Spec: {} }), 404);
  t.is(await status('POST', '/volumes/create', { Name: 'x', ClusterVolumeSpec: { Group: 'g' } }), 501);
  t.is(await status('POST', '/volumes/create', { Name: 'x', Driver: 'nosuch' }), 404);
  t.is(await status('POST', '/volumes/create', { Name: 7 }), 400);
  t.is(await status('GET', '/volumes?filters={"dangling":["perhaps"]}'), 400);
  t.deepEqual(names(await api.get('/volumes?filters={"dangling":["true"]}')), []);
  t.deepEqual(names(await api.get('/volumes?filters={"dangling":{"false":true}}')), ['busy']);
});

test('prune: anonymous ones, all of them when asked or for old clients, never one in use', async (t) => {
  await using api = await ApiFixture.up(1);
  const held = holdVolumes(api, 'nodea1');
  const add = (name: string, labels = {}, usedBy: string[] = []): number =>
    held.push({ name, options: {}, labels, createdAtMs: 1, mountpoint: '/v', usedBy });
  const fill = (): void => {
    held.length = 0;
    add('named', { a: '1' });
    add('other');
    add('f'.repeat(64), { 'com.docker.volume.anonymous': '' });
    add('busy', {}, ['c1']);
  };
  const prune = async (path: string) => (await api.send('POST', path)).json;
  fill();
  t.deepEqual(await prune('/volumes/prune'), { VolumesDeleted: ['f'.repeat(64)], SpaceReclaimed: 10 });
  fill();
  t.is((await prune('/v1.41/volumes/prune')).VolumesDeleted.length, 3);
  fill();
  t.is((await prune('/volumes/prune?filters={"all":["true"]}')).VolumesDeleted.length, 3);
  fill();
  t.deepEqual((await prune('/volumes/prune?filters={"all":["1"],"label":["a=1"]}')).VolumesDeleted, [
    'named',
  ]);
  fill();
  const rest = (await prune('/volumes/prune?filters={"all":["1"],"label!":["a"]}')).VolumesDeleted;
  t.false(rest.includes('named'));
  t.is(held.length, 2);
});

test('a node that does not answer: named in the warnings, and no name is said to be free of use', async (t) => {
  await using api = await ApiFixture.up(2);
  holdVolumes(api, 'nodea1');
  const node = api.nodes.get('nodea2');
  if (node !== undefined) node.connected = false;
  t.regex((await api.get('/volumes')).Warnings[0], /nodea2 did not answer/);
  t.is((await api.send('GET', '/volumes/x')).status, 503);
});

test('file modes as Go numbers them', (t) => {
  t.is(goFileMode(0o100644), 0o644);
  t.is(goFileMode(0o041777), 2 ** 31 + 2 ** 20 + 0o777);
  t.is(goFileMode(0o120777), 2 ** 27 + 0o777);
  t.is(goFileMode(0o104755), 2 ** 23 + 0o755);
  t.is(goFileMode(0o020666), 2 ** 26 + 2 ** 21 + 0o666);
});

test('archive: a path is needed; an unknown container is 404', async (t) => {
  await using api = await ApiFixture.up(1);
  for (const method of ['GET', 'HEAD', 'PUT'])
    t.is((await api.send(method, '/containers/x/archive')).status, 400, method);
  t.is((await api.send('GET', '/containers/x/archive?path=/a')).status, 404);
  t.is((await api.send('GET', '/containers/x/export')).status, 404);
  t.is((await api.send('GET', '/containers/x/changes')).status, 404);
  t.is((await api.send('GET', '/system/df?type=nosuch')).status, 400);
});

test('whatever is sent, the answer is one of the API’s own', async (t) => {
  await using api = await ApiFixture.up(2);
  holdVolumes(api, 'nodea1');
  holdVolumes(api, 'nodea2');
  const own = [200, 201, 204, 400, 404, 409, 501];
  const field = fc.oneof(fc.string(), fc.jsonValue());
  const body = fc.oneof(
    fc.jsonValue(),
    fc.record({ Name: field, Driver: field, DriverOpts: field, Labels: field }, { requiredKeys: [] }),
  );
  const filters = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom('all', 'label', 'label!', 'dangling'), field),
  );
  await fc.assert(
    fc.asyncProperty(body, filters, fc.string(), async (sent, asked, name) => {
      const query = `filters=${encodeURIComponent(JSON.stringify(asked))}`;
      const path = encodeURIComponent(name.replaceAll(/[\uD800-\uDFFF]/g, ''));
      for (const [method, url] of [
        ['POST', '/volumes/create'],
        ['POST', `/volumes/prune?${query}`],
        ['GET', `/volumes?${query}`],
        ['GET', `/volumes/x${path}`],
        ['PUT', `/volumes/x${path}`],
        ['DELETE', `/volumes/x${path}`],
        ['GET', `/containers/x/archive?path=${path}`],
        ['PUT', `/containers/x/archive?path=${path}`],
      ] as const) {
        const { status, body: text } = await api.send(method, url, JSON.stringify(sent));
        if (!own.includes(status))
          throw new Error(`${method} ${url} ${JSON.stringify(sent)}: ${status} ${String(text)}`);
      }
    }),
    { numRuns: 60 },
  );
  t.pass();
});
