/** The same compose file by docker stack deploy and by Shoal: the same services, where both can say it. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import ava from 'ava';
import { ApiFixture, type Json } from '../unit/api/fixture.ts';
import { dockerPrograms } from './docker.ts';
import { STORED_COMPOSE_FILES } from './compose-files-stored.ts';
import { COMPOSE_FILES } from './compose-files.ts';

const test = ava.serial;

const programs = await dockerPrograms();
const [debian] = programs;

for (const [name, file] of Object.entries({ ...COMPOSE_FILES, ...STORED_COMPOSE_FILES })) {
  test(`${name}: docker stack deploy and shoal deploy give the same services`, async (t) => {
    if (debian === undefined) throw new Error('there is no docker client');
    const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-differential-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const yaml = path.join(directory, 'compose.yaml');
    await writeFile(yaml, file);
    for (const [other, text] of Object.entries(FILES)) await writeFile(path.join(directory, other), text);
    await using theirs = await prepared();
    await using ours = await prepared();
    const flags = ['--config', directory, '-H', `unix://${theirs.socket}`];
    const deploy = ['stack', 'deploy', '--resolve-image', 'never', '-c', yaml, 'shop'];
    await promisify(execFile)(debian.path, [...flags, ...deploy], { timeout: 60_000 });
    const files = Object.entries(FILES).map(([other, text]) => [`./${other}`, encoded(text)]);
    const body = { compose: file, contents: { files: Object.fromEntries(files) } };
    const answer = await ours.send('PUT', '/stacks/shop', body, { 'content-type': 'application/json' });
    t.is(answer.status, 200, answer.body.toString());
    const [expected, found] = [await specsOf(theirs), await specsOf(ours)];
    t.true(Object.keys(expected).length > 0);
    t.deepEqual(found, expected);
    t.deepEqual(await networksOf(ours), await networksOf(theirs));
    for (const kind of ['secrets', 'configs'] as const) {
      t.deepEqual(await storedOf(ours, kind), await storedOf(theirs, kind), kind);
    }
  });
}

/** Contents of the secrets and configs that some of the files have. */
const FILES: Readonly<Record<string, string>> = {
  'root.txt': 'secret',
  'prometheus.yml': 'global: {scrape_interval: 15s}\n',
  'rules.yml': 'groups: []\n',
};

function encoded(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Names, labels and, where they are shown, contents. */
async function storedOf(api: ApiFixture, kind: 'secrets' | 'configs'): Promise<Json[]> {
  const all: Json[] = await api.get(`/${kind}`);
  return all.map(({ Spec }) => Spec).toSorted((a, b) => a.Name.localeCompare(b.Name));
}

test('images that docker stack deploy pinned by their digest are what the same file means to Shoal', async (t) => {
  if (debian === undefined) throw new Error('there is no docker client');
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-differential-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const yaml = path.join(directory, 'compose.yaml');
  const file = 'version: "3.8"\nservices: { web: { image: nginx }, db: { image: "redis:7" } }\n';
  await writeFile(yaml, file);
  await using api = await prepared();
  const digest = `sha256:${'d'.repeat(64)}`;
  const described = {
    ...{ mediaType: 'application/vnd.oci.image.index.v1+json', digest, sizeBytes: 1_000 },
    platforms: [{ os: 'linux', architecture: 'amd64' }],
  };
  for (const node of api.nodes.values()) node.answers.set('image.describe-remote', () => described);
  const flags = ['--config', directory, '-H', `unix://${api.socket}`];
  await promisify(execFile)(debian.path, [...flags, 'stack', 'deploy', '-c', yaml, 'shop'], {
    timeout: 60_000,
  });
  const imageOf = async (name: string): Promise<string> =>
    (await api.get(`/services/${name}`)).Spec.TaskTemplate.ContainerSpec.Image;
  t.is(await imageOf('shop_web'), `nginx:latest@${digest}`);
  const type = { 'content-type': 'application/yaml' };
  const actions = ({ services }: Json): string[] => services.map((one: Json) => one.action);
  const compared = await api.send('POST', '/stacks/shop/diff', file, type);
  t.deepEqual(actions(compared.json), ['unchanged', 'unchanged'], compared.body.toString());
  const deployed = await api.send('PUT', '/stacks/shop', file, type);
  t.deepEqual(actions(deployed.json), ['unchanged', 'unchanged'], deployed.body.toString());
  const other = await api.send('PUT', '/stacks/shop', file.replace('redis:7', 'redis:8'), type);
  t.deepEqual(actions(other.json).toSorted(), ['unchanged', 'updated'], other.body.toString());
  t.deepEqual([await imageOf('shop_web'), await imageOf('shop_db')], [`nginx:latest@${digest}`, 'redis:8']);
});

/** With what some of the files take as given. */
async function prepared(): Promise<ApiFixture> {
  const api = await ApiFixture.up();
  const body = { Name: 'public', Driver: 'overlay', Attachable: true };
  const made = await api.send('POST', '/networks/create', body);
  if (made.status !== 201) throw new Error(made.body.toString());
  for (const [kind, Name] of [
    ['secrets', 'db-user'],
    ['configs', 'datasource'],
  ]) {
    const stored = await api.send('POST', `/${kind}/create`, { Name, Data: encoded('given') });
    if (stored.status !== 201) throw new Error(stored.body.toString());
  }
  return api;
}

/** By name, networks by name too. */
async function specsOf(api: ApiFixture): Promise<Record<string, Json>> {
  const names = new Map<string, string>();
  for (const network of await api.get('/networks')) names.set(network.Id, network.Name);
  const services: Json[] = await api.get('/services');
  return Object.fromEntries(
    services
      .map(({ Spec }): [string, Json] => {
        const { TaskTemplate } = Spec;
        const networks = (TaskTemplate.Networks ?? [])
          .map((one: Json) => ({ ...one, Target: names.get(one.Target) }))
          .toSorted((a: Json, b: Json) => a.Target.localeCompare(b.Target));
        return [Spec.Name, unordered({ ...Spec, TaskTemplate: { ...TaskTemplate, Networks: networks } })];
      })
      .toSorted(([a], [b]) => a.localeCompare(b)),
  );
}

async function networksOf(api: ApiFixture): Promise<Json[]> {
  const networks: Json[] = await api.get('/networks');
  return networks
    .map(({ Name, Driver, Internal, Attachable, Labels, IPAM, Options }) => ({
      Name,
      Driver,
      Internal,
      Attachable,
      Labels,
      subnets: IPAM.Config,
      Options,
    }))
    .toSorted((a, b) => a.Name.localeCompare(b.Name));
}

/** Where the order says nothing, docker's is that of a Go map. */
const UNORDERED = new Set([
  'Env',
  'Ports',
  'Mounts',
  'Hosts',
  'Ulimits',
  'Aliases',
  'CapabilityAdd',
  'CapabilityDrop',
  'Secrets',
  'Configs',
]);
/** Each cluster has its own; the names stand beside them. */
const IDS = new Set(['SecretID', 'ConfigID']);

function unordered(value: Json, key = ''): Json {
  if (Array.isArray(value)) {
    const items = value.map((item) => unordered(item));
    return UNORDERED.has(key)
      ? items.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
      : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([name]) => !IDS.has(name))
    .map(([name, item]): [string, Json] => [name, unordered(item, name)]);
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}
