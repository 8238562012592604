/** The same compose file by docker stack deploy and by Shoal: the same services, where both can say it. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { ApiFixture, type Json } from '../unit/api/fixture.ts';
import { dockerPrograms } from './docker.ts';
import { COMPOSE_FILES } from './compose-files.ts';

const programs = await dockerPrograms();
const [debian] = programs;

for (const [name, file] of Object.entries(COMPOSE_FILES)) {
  test(`${name}: docker stack deploy and shoal deploy give the same services`, async (t) => {
    if (debian === undefined) throw new Error('there is no docker client');
    const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-differential-'));
    t.teardown(() => rm(directory, { recursive: true }));
    const yaml = path.join(directory, 'compose.yaml');
    await writeFile(yaml, file);
    await using theirs = await prepared();
    await using ours = await prepared();
    const flags = ['--config', directory, '-H', `unix://${theirs.socket}`];
    const deploy = ['stack', 'deploy', '--resolve-image', 'never', '-c', yaml, 'shop'];
    await promisify(execFile)(debian.path, [...flags, ...deploy], { timeout: 60_000 });
    const answer = await ours.send('PUT', '/stacks/shop', file, { 'content-type': 'application/yaml' });
    t.is(answer.status, 200, answer.body.toString());
    const [expected, found] = [await specsOf(theirs), await specsOf(ours)];
    t.true(Object.keys(expected).length > 0);
    t.deepEqual(found, expected);
    t.deepEqual(await networksOf(ours), await networksOf(theirs));
  });
}

/** With the network that some of the files take as given. */
async function prepared(): Promise<ApiFixture> {
  const api = await ApiFixture.up();
  const body = { Name: 'public', Driver: 'overlay', Attachable: true };
  const made = await api.send('POST', '/networks/create', body);
  if (made.status !== 201) throw new Error(made.body.toString());
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
]);

function unordered(value: Json, key = ''): Json {
  if (Array.isArray(value)) {
    const items = value.map((item) => unordered(item));
    return UNORDERED.has(key)
      ? items.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
      : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([name, item]): [string, Json] => [name, unordered(item, name)]);
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}
