/** pull, push, images, inspect, history, tag, save, load, rmi, prune, login: against registries of the test. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { buildImage, buildLayer } from '../../agent/image/build-tar.ts';
import { busyboxImage } from '../images/images.ts';
import { pushImage, type Registry, REGISTRY_USER, startRegistry } from '../harness/registry.ts';
import { reachableAddress } from '../harness/outside.ts';
import { IMAGE, suite, SWIFT } from './suite.ts';

const open: Registry = await startRegistry(reachableAddress());
const closed: Registry = await startRegistry(reachableAddress(), 0, { closed: true });
const { test } = await suite((cluster) => cluster.agents(2).registry(open.address).registry(closed.address));

ava.after.always(async () => {
  await open[Symbol.asyncDispose]();
  await closed[Symbol.asyncDispose]();
});

interface ImageJson {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  readonly Config: { readonly Env: readonly string[]; readonly Labels: Readonly<Record<string, string>> };
  readonly RootFS: { readonly Layers: readonly string[] };
  readonly Size: number;
}

interface ServiceJson {
  readonly Spec: { readonly TaskTemplate: { readonly ContainerSpec: { readonly Image: string } } };
}

/** An image of its own for each test and client, in the registry. */
async function push(name: string, marks: readonly string[] = ['one', 'two', 'three', 'four', 'five']) {
  const layers = await Promise.all(
    marks.map((mark, i) =>
      buildLayer([{ kind: 'file', path: `${name}/${i}`, content: `${mark} `.repeat(10_000 * (i + 1)) }]),
    ),
  );
  const image = buildImage(`${name}:1`, layers, { Env: ['A=1'], Labels: { test: name } });
  return { image, reference: await pushImage(open, image) };
}

async function temporary(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'shoal-client-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

test('pull brings an image onto every node and shows its layers', async (t, { docker, swarm, tag }) => {
  const { image, reference } = await push(`pulled-${tag}`);
  const output = await docker.ok('pull', reference);
  t.regex(output, new RegExp(`1: Pulling from .*pulled-${tag}`));
  t.is([...output.matchAll(/: Pull complete/g)].length, 5 + 1, output); // the layers, and the other node
  t.regex(output, /a[12]: Pull complete/);
  t.regex(
    output,
    new RegExp(`Digest: sha256:[a-f0-9]{64}\\nStatus: Downloaded newer image for ${reference}`),
  );
  t.regex(await docker.ok('pull', reference), /Status: Image is up to date for/);
  for (const node of ['a1', 'a2']) {
    const found = await swarm.api('GET', `/images/${reference}/json?node=${node}`);
    t.is((found.body as ImageJson).Id, image.id, node);
  }
  t.is(await docker.ok('images', '-q', '--no-trunc', reference), image.id);
  t.regex(await docker.fails('pull', `${open.address}/pulled-${tag}:2`), /manifest unknown/);
  t.regex(
    await docker.fails('pull', '--all-tags', `${open.address}/pulled-${tag}`),
    /not supported by Shoal/,
  );
});

test('images with filters and formats, inspect, history', async (t, { docker, tag }) => {
  const { image, reference } = await push(`listed-${tag}`);
  await docker.ok('pull', '-q', reference);
  const name = reference.replace(/:1$/, '');
  const list = (...args: string[]) =>
    docker.lines('images', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}', ...args);
  const line = `${reference} ${image.id.slice(7, 19)}`;
  t.deepEqual(await list(name), [line]);
  t.deepEqual(await list('--filter', `label=test=listed-${tag}`), [line]);
  t.deepEqual(await list('--filter', 'label=test=nothing'), []);
  t.deepEqual(await list('--filter', `reference=*/listed-${tag}`), [line]);
  t.deepEqual(await list('--filter', `reference=*/listed-${tag}:[2-9]`), []);
  t.false((await list('--filter', 'dangling=true')).includes(line));
  t.true((await list('--filter', 'dangling=false')).includes(line));
  t.false((await list('--filter', `before=${reference}`)).includes(line));
  t.regex(await docker.fails('images', '--filter', 'nonsense=1'), /invalid filter/i);
  t.regex(await docker.ok('images', '--digests', name), /sha256:[a-f0-9]{64}/);

  const [shown] = await docker.json<ImageJson[]>('image', 'inspect', reference);
  t.is(shown?.Id, image.id);
  t.deepEqual(shown?.RepoTags, [reference]);
  t.is(shown?.RepoDigests.length, 1);
  t.deepEqual(shown?.Config.Env, ['A=1']);
  t.deepEqual(shown?.Config.Labels, { test: `listed-${tag}` });
  t.deepEqual(
    shown?.RootFS.Layers,
    image.layers.map((layer) => layer.diffId),
  );
  t.true((shown?.Size ?? 0) > 100_000);
  const [untyped] = await docker.json<ImageJson[]>('inspect', image.id.slice(7, 19));
  t.is(untyped?.Id, image.id);
  t.regex(await docker.fails('image', 'inspect', 'nosuch:1'), /No such image: nosuch:1/i);
  await docker.ok('history', reference);
});

test('tag, rmi: a name goes, and with the last one the image', async (t, { docker, tag }) => {
  const { image, reference } = await push(`named-${tag}`);
  await docker.ok('pull', '-q', reference);
  await docker.ok('tag', reference, `other-${tag}:x`);
  const names = (await docker.json<ImageJson[]>('image', 'inspect', image.id))[0]?.RepoTags;
  t.deepEqual(names?.toSorted(), [reference, `other-${tag}:x`].toSorted());
  t.regex(await docker.fails('rmi', image.id.slice(7)), /must be forced.*multiple repositories/);
  t.deepEqual(await docker.lines('rmi', `other-${tag}:x`), [`Untagged: other-${tag}:x`]);
  const gone = await docker.ok('rmi', reference);
  t.regex(gone, new RegExp(`Untagged: ${reference}\n`));
  t.regex(gone, new RegExp(`Deleted: ${image.id}`));
  t.regex(await docker.fails('rmi', reference), /No such image/);
  t.regex(await docker.fails('tag', reference, 'x:y'), /No such image/);
});

test('an image in use stays', async (t, { docker, swarm, tag }) => {
  const busybox = { ...(await busyboxImage()), reference: `used-${tag}:1` };
  const reference = await pushImage(open, busybox);
  const service = `uses-image-${tag}`;
  await docker.ok(
    ...['service', 'create', ...SWIFT, '--quiet', '--detach', '--name', service, reference, 'sleep', '1d'],
  );
  const state = await swarm.eventually((s) => s.running(service).count === 1);
  t.truthy(state);
  // The registry was asked, so every task runs what the name meant then.
  const [inspected] = await docker.json<ServiceJson[]>('service', 'inspect', service);
  t.regex(inspected?.Spec.TaskTemplate.ContainerSpec.Image ?? '', /used-v\d+:1@sha256:[a-f0-9]{64}$/);
  const [id] = await docker.lines('images', '-q', '--no-trunc', '--filter', `reference=*/used-${tag}`);
  t.is(id, busybox.id);
  t.regex(await docker.fails('rmi', busybox.id), /cannot be forced.*being used by running container/);
  t.regex(await docker.fails('rmi', '-f', busybox.id), /cannot be forced/);
  await docker.ok('image', 'prune', '-f');
  t.is((await docker.json<ImageJson[]>('image', 'inspect', busybox.id))[0]?.Id, busybox.id);
  await docker.ok('service', 'rm', service);
  await swarm.eventually(async () => (await docker.run(['rmi', '-f', busybox.id])).code === 0);
});

test('save and load: the same image under the same id', async (t, { docker, tag }) => {
  const { image, reference } = await push(`saved-${tag}`);
  await docker.ok('pull', '-q', reference);
  const file = path.join(await temporary(t), 'image.tar');
  await docker.ok('save', '-o', file, reference, IMAGE);
  t.true((await stat(file)).size > 1_000);
  await docker.ok('rmi', reference);
  t.is(await docker.ok('images', '-q', reference), '');
  const loaded = await docker.ok('load', '-i', file);
  t.regex(loaded, new RegExp(`Loaded image: ${reference}`));
  t.is(await docker.ok('images', '-q', '--no-trunc', reference), image.id);
  const again = await docker.runWith(await readFile(file), ['load', '-q']);
  t.regex(again.stdout, new RegExp(`Loaded image: ${reference}`));
  t.regex((await docker.runWith('no archive', ['load'])).stderr, /archive/);
  t.regex(await docker.fails('save', '-o', file, 'nosuch:1'), /No such image|reference does not exist/);
  await docker.ok('rmi', reference);
});

test('push, and prune of what has no name any more', async (t, { docker, tag }) => {
  const target = `${open.address}/pushed-${tag}:2`;
  await docker.ok('tag', IMAGE, target);
  t.regex(await docker.ok('push', target), /2: digest: sha256:[a-f0-9]{64} size: \d+/);
  const known = await fetch(`http://${open.address}/v2/pushed-${tag}/manifests/2`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  t.is(known.status, 200);
  await docker.ok('rmi', target);
  t.regex(await docker.ok('pull', target), /Status: /);
  await docker.ok('rmi', target);

  const old = await push(`moving-${tag}`, ['old']);
  await docker.ok('pull', '-q', old.reference);
  const moved = await push(`moving-${tag}`, ['new']);
  await docker.ok('pull', '-q', moved.reference);
  t.deepEqual(await docker.lines('images', '-q', '--no-trunc', '--filter', 'dangling=true'), [old.image.id]);
  t.regex(
    await docker.ok('image', 'prune', '-f', '--filter', 'until=24h', '--filter', 'label=test=other'),
    /0B/,
  );
  t.regex(await docker.ok('image', 'prune', '-f'), new RegExp(`eleted: ${old.image.id}`));
  t.deepEqual(await docker.lines('images', '-q', '--filter', 'dangling=true'), []);
  await docker.ok('rmi', moved.reference);
});

test('login: good and bad credentials, and what they open', async (t, { docker, tag }) => {
  const { username, password } = REGISTRY_USER;
  const login = (secret: string) =>
    docker.runWith(secret, ['login', '-u', username, '--password-stdin', closed.address]);
  const bad = await login('wrong');
  t.not(bad.code, 0);
  t.regex(bad.stderr, /unauthorized/i);
  const target = `${closed.address}/private-${tag}:1`;
  await docker.ok('tag', IMAGE, target);
  t.regex(await docker.fails('push', target), /denied|unauthorized|no basic auth/i);
  const good = await login(password);
  t.is(good.code, 0, good.stderr);
  t.regex(good.stdout, /Login Succeeded/);
  await docker.ok('push', target);
  await docker.ok('rmi', target);
  t.regex(await docker.ok('pull', target), /Status: /);
  const service = `private-${tag}`;
  const create = ['service', 'create', ...SWIFT, '--quiet', '--detach', '--with-registry-auth'];
  await docker.ok(...create, '--name', service, target);
  const [inspected] = await docker.json<ServiceJson[]>('service', 'inspect', service);
  t.regex(inspected?.Spec.TaskTemplate.ContainerSpec.Image ?? '', /@sha256:/);
  await docker.ok('service', 'rm', service);
  await docker.ok('logout', closed.address);
  t.regex(await docker.fails('pull', target), /denied|unauthorized/i);
});

test('what is refused is refused by name; what was loaded is no registry asked about', async (t, {
  docker,
  tag,
}) => {
  t.regex(await docker.fails('search', 'nginx'), /not supported by Shoal/);
  t.regex(await docker.fails('import', 'http://127.0.0.1/x.tar', 'x:1'), /fromSrc.*not supported/);
  const name = `unpinned-${tag}`;
  await docker.ok('service', 'create', '--detach', '--quiet', ...SWIFT, '--name', name, IMAGE);
  const [inspected] = await docker.json<ServiceJson[]>('service', 'inspect', name);
  t.is(inspected?.Spec.TaskTemplate.ContainerSpec.Image, IMAGE);
  await docker.ok('service', 'rm', name);
});
