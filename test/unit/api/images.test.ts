/** One answer from the images of several nodes. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { ConflictError, NotFoundError, UnavailableError } from '../../../shared/errors/index.ts';
import type {
  ImageEvent,
  ImageInfo,
  ImageMethods,
  StreamChunk,
} from '../../../shared/model/node-methods/index.ts';
import { fanOut } from '../../../manager/api/ops/fan-out.ts';
import { imagesUsage } from '../../../manager/api/ops/images.ts';
import { goPattern } from '../../../manager/api/go-pattern.ts';
import { ApiFixture, type FakeNode, type Json } from './fixture.ts';
import { IMAGE_FIELDS } from './samples.ts';

const never = new AbortController().signal;

function info(digit: string, fields: Partial<ImageInfo> = {}): ImageInfo {
  return {
    id: `sha256:${digit.repeat(64)}`,
    repoTags: [`${digit}:1`],
    ...IMAGE_FIELDS,
    labels: {},
    sizeBytes: 30,
    createdAt: `200${digit.charCodeAt(0) % 10}-01-01T00:00:00Z`,
    layers: [
      { chainId: 'sha256:shared', sizeBytes: 10 },
      { chainId: `sha256:${digit}`, sizeBytes: 20 },
    ],
    history: [
      { createdAt: '2001-01-01T00:00:00Z', createdBy: 'ADD', comment: '', sizeBytes: 10 },
      { createdAt: '2002-01-01T00:00:00Z', createdBy: 'RUN', comment: '', sizeBytes: 20 },
    ],
    ...fields,
  };
}

/** A node that has these images and notes what else it is asked. */
function give(node: FakeNode | undefined, ...images: readonly ImageInfo[]): { readonly asked: Json[] } {
  if (node === undefined) throw new Error('no such node');
  const asked: Json[] = [];
  const find = (reference: string): ImageInfo => {
    const found = images.find(
      ({ id, repoTags }) =>
        repoTags.includes(reference) || id === reference || id.slice(7).startsWith(reference),
    );
    if (found === undefined) throw new NotFoundError(`No such image: ${reference}`);
    return found;
  };
  node.answers.set('image.list', () =>
    images.map(({ id, repoTags, repoDigests, labels, sizeBytes, createdAt, layers }) => ({
      ...{ id, repoTags, repoDigests, labels, sizeBytes, createdAt, layers },
    })),
  );
  node.answers.set('image.inspect', ({ reference }) => find(reference));
  node.answers.set('image.tag', (params) => {
    asked.push(params);
    return {};
  });
  node.answers.set('image.remove', (params: ImageMethods['image.remove']['params']) => {
    asked.push(params);
    const { id, repoTags } = find(params.reference);
    return params.check ? { untagged: [], deleted: [] } : { untagged: repoTags, deleted: [id] };
  });
  return { asked };
}

async function* chunks(...events: readonly ImageEvent[]): AsyncGenerator<StreamChunk> {
  for (const event of events) yield { stream: 1, data: Buffer.from(JSON.stringify(event)) };
}

// oxlint-disable-next-line require-yield
async function* fails(error: Error): AsyncGenerator<StreamChunk> {
  throw error;
}

function linesOf(body: Buffer): Json[] {
  return body
    .toString()
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

test('a list has each image once, with all of its names; nodes that are away are named', async (t) => {
  await using api = await ApiFixture.up(3);
  const [a1, a2, a3] = ['nodea1', 'nodea2', 'nodea3'].map((id) => api.nodes.get(id));
  give(a1, info('a'), info('b', { repoTags: [], repoDigests: [] }));
  give(a2, info('a', { repoTags: ['other:2'] }));
  if (a3 !== undefined) a3.connected = false;
  const answer = await api.send('GET', '/images/json?shared-size=1');
  t.is(answer.headers['x-shoal-nodes-missing'], 'nodea3');
  t.deepEqual(
    answer.json.map((image: Json) => [image.Id.slice(7, 8), image.RepoTags, image.SharedSize]),
    [
      ['b', [], 10],
      ['a', ['a:1', 'other:2'], 10],
    ],
  );
  const [old] = await api.get('/v1.41/images/json?filters={"dangling":["true"]}');
  t.deepEqual([old.RepoTags, old.RepoDigests, old.VirtualSize], [['<none>:<none>'], ['<none>@<none>'], 30]);
  t.is((await api.get('/images/json?node=a2')).length, 1);
  t.is((await api.send('GET', '/images/json?node=nosuch')).status, 404);
  const before = await api.get('/images/json?filters={"before":["b"]}');
  t.deepEqual(
    before.map((image: Json) => image.Id.slice(7, 8)),
    ['a'],
  );
  const named = await api.get('/images/json?filters={"reference":["oth*"]}');
  t.deepEqual(
    named.map((image: Json) => image.RepoTags),
    [['other:2']],
  );
  t.is((await api.send('GET', '/images/json?filters={"size":["1"]}')).status, 400);
});

test('disk usage counts an image and a layer once, whatever number of nodes have it', async (t) => {
  await using api = await ApiFixture.up(2);
  for (const node of api.nodes.values()) give(node, info('a'), info('b'));
  const ctx = { store: api.store, gateway: api.gateway(), logger: { debug: () => undefined } };
  const usage = await imagesUsage(ctx as unknown as Parameters<typeof imagesUsage>[0], never);
  t.is(usage.layersBytes, 10 + 20 + 20);
  t.deepEqual(
    usage.images.map((image) => image.sharedBytes),
    [10, 10],
  );
});

test('an image is inspected by name and by id; digits that fit several are refused', async (t) => {
  await using api = await ApiFixture.up(2);
  give(api.nodes.get('nodea1'), info('a'));
  give(api.nodes.get('nodea2'), info('a'), info('b', { id: `sha256:${'a'.repeat(63)}b` }));
  const inspected = await api.get('/images/a:1/json');
  t.like(inspected, {
    Id: `sha256:${'a'.repeat(64)}`,
    Os: 'linux',
    Config: { ExposedPorts: { '80/tcp': {} } },
  });
  const history: Json[] = await api.get('/images/aaa/history').catch(() => []);
  t.deepEqual(
    history.map(({ CreatedBy, Size }) => [CreatedBy, Size]),
    [
      ['RUN', 20],
      ['ADD', 10],
    ],
  );
  give(api.nodes.get('nodea1'), info('b', { id: `sha256:${'a'.repeat(63)}b` }));
  const two = await api.send('GET', '/images/aaaa/json');
  t.deepEqual([two.status, /ambiguous/.test(two.json.message)], [400, true]);
  // A name that could be digits is a name.
  const asked = give(api.nodes.get('nodea2'), info('a', { repoTags: ['aa:latest', 'aa'] })).asked;
  t.is((await api.send('DELETE', '/images/aa?node=a2')).status, 200);
  t.is(asked[0].reference, 'aa');
  const none = await api.send('GET', '/images/x/y:1/json');
  t.deepEqual([none.status, none.json.message], [404, 'No such image: x/y:1']);
});

test('what one node refuses to remove is removed from none', async (t) => {
  await using api = await ApiFixture.up(3);
  const first = give(api.nodes.get('nodea1'), info('a'));
  const second = give(api.nodes.get('nodea2'), info('a'));
  t.deepEqual((await api.send('POST', '/images/a:1/tag?repo=x&tag=2')).status, 201);
  t.deepEqual(
    [...first.asked, ...second.asked],
    Array.from({ length: 2 }, () => ({ reference: 'a:1', target: 'x:2' })),
  );
  const refusal = 'conflict: unable to remove repository reference "a:1" (must force)';
  const remove = api.nodes.get('nodea2')?.answers.get('image.remove');
  api.nodes.get('nodea2')?.answers.set('image.remove', () => {
    throw new ConflictError(refusal);
  });
  first.asked.length = 0;
  const refused = await api.send('DELETE', '/images/a:1');
  t.deepEqual([refused.status, refused.json.message], [409, refusal]);
  t.deepEqual(
    first.asked.map(({ check }) => check),
    [true],
  );
  if (remove !== undefined) api.nodes.get('nodea2')?.answers.set('image.remove', remove);
  const removed = await api.send('DELETE', '/images/a:1');
  t.deepEqual(removed.json, [{ Untagged: 'a:1' }, { Deleted: info('a').id }]);
});

test('a prune passes its filters on and adds up', async (t) => {
  await using api = await ApiFixture.up(2);
  const asked: Json[] = [];
  for (const node of api.nodes.values()) {
    node.answers.set('image.prune', (params) => {
      asked.push(params);
      return { untagged: [], deleted: ['sha256:a'], reclaimedBytes: 5 };
    });
  }
  const filters = { dangling: ['false'], label: ['k=v'], 'label!': ['no'], until: ['1h'] };
  const answer = await api.send(
    'POST',
    `/images/prune?filters=${encodeURIComponent(JSON.stringify(filters))}`,
  );
  t.deepEqual(answer.json, { ImagesDeleted: [{ Deleted: 'sha256:a' }], SpaceReclaimed: 10 });
  t.like(asked[0], { all: true, labels: ['k=v'], withoutLabels: ['no'] });
  t.true(Math.abs(asked[0].createdBeforeMs - (Date.now() - 3_600_000)) < 60_000);
  t.is((await api.send('POST', '/images/prune?filters={"dangling":["perhaps"]}')).status, 400);
});

test('a pull shows the first node by layer, the others by a line, and names who failed', async (t) => {
  await using api = await ApiFixture.up(3);
  const end: ImageEvent = { kind: 'pulled', name: 'a:1', digest: 'sha256:d', isNew: true };
  const begin: ImageEvent = { kind: 'begin', repository: 'a', tag: '1' };
  const layer: ImageEvent = { kind: 'layer', id: 'l1', step: 'downloading', current: 5, total: 10 };
  const asked: Json[] = [];
  for (const [id, node] of api.nodes) {
    node.answers.set('image.pull', (params) => {
      asked.push({ id, ...params });
      return id === 'nodea3' ? fails(new UnavailableError('disk full')) : chunks(begin, layer, end);
    });
  }
  const pull = '/images/create?fromImage=a&tag=1&platform=linux/arm64';
  const partly = await api.send('POST', pull, undefined, { 'x-registry-auth': 'eyJ1c2VybmFtZSI6ImEifQ' });
  t.is(partly.status, 200);
  t.deepEqual(
    asked.map(({ id }) => id),
    ['nodea1', 'nodea2', 'nodea3'],
  );
  t.like(asked[0], { reference: 'a:1', platform: 'linux/arm64', registryAuth: 'eyJ1c2VybmFtZSI6ImEifQ' });
  const lines = linesOf(partly.body);
  t.deepEqual(lines[0], { status: 'Pulling from a', id: '1' });
  t.like(
    lines.find((line) => line.id === 'l1'),
    { status: 'Downloading', progressDetail: { current: 5, total: 10 } },
  );
  t.like(
    lines.findLast((line) => line.id === 'a2'),
    { status: 'Pull complete' },
  );
  t.is(lines.at(-1).error, 'node a3: disk full');

  api.nodes.get('nodea3')?.answers.set('image.pull', () => chunks(begin, { ...end, isNew: false }));
  const whole = linesOf((await api.send('POST', pull)).body);
  t.like(
    whole.findLast((line) => line.id === 'a3'),
    { status: 'Image is up to date' },
  );
  t.deepEqual(
    whole.slice(-2).map(({ status }) => status),
    ['Digest: sha256:d', 'Status: Downloaded newer image for a:1'],
  );

  api.nodes.get('nodea1')?.answers.set('image.pull', () => fails(new NotFoundError('manifest unknown')));
  asked.length = 0;
  const unknown = await api.send('POST', pull);
  t.deepEqual([unknown.status, unknown.json.message, asked.length], [404, 'manifest unknown', 0]);
  t.is((await api.send('POST', '/images/create?fromSrc=-')).status, 501);
  t.is((await api.send('POST', '/images/create?fromImage=a')).status, 501);
  t.is((await api.send('POST', '/images/create')).status, 400);
});

test('an archive goes to every node at the pace of the slowest, and one that fails holds up nobody', async (t) => {
  await using api = await ApiFixture.up(3);
  const received = new Map<string, Buffer[]>();
  for (const [id, node] of api.nodes) {
    node.answers.set('image.load', async function* (_params, input) {
      const parts: Buffer[] = [];
      received.set(id, parts);
      for await (const part of input ?? []) {
        parts.push(part);
        if (id === 'nodea2') await sleep(1);
        if (id === 'nodea3') throw new UnavailableError('no space');
      }
      yield* chunks({ kind: 'loaded', id: 'sha256:1', name: 'a:1' });
    });
  }
  const archive = 'x'.repeat(500_000);
  const lines = linesOf((await api.send('POST', '/images/load?quiet=1', archive)).body);
  t.deepEqual(lines[0], { stream: 'Loaded image: a:1\n' });
  t.is(lines.at(-1).error, 'node a3: no space');
  t.is(lines.length, 2);
  for (const id of ['nodea1', 'nodea2']) t.is(Buffer.concat(received.get(id) ?? []).toString(), archive, id);
});

test('a fan-out reads no further than its slowest reader has', async (t) => {
  let made = 0;
  async function* source(): AsyncGenerator<Buffer> {
    for (; made < 100; made += 1) yield Buffer.from([made]);
  }
  const { outlets, done } = fanOut(source(), 2);
  const [quick, slow] = outlets;
  let taken = 0;
  const quickReader = (async () => {
    for await (const _ of quick?.input ?? []) taken += 1;
  })();
  const slowReader = slow?.input[Symbol.asyncIterator]();
  await slowReader?.next();
  await sleep(20);
  t.true(made <= 3 && taken <= 3, `${made} made, ${taken} taken`);
  slow?.close();
  await quickReader;
  await done;
  t.is(taken, 100);
});

test('what a registry has is told with its platforms, and its refusals keep their status', async (t) => {
  await using api = await ApiFixture.up(1);
  const node = api.nodes.get('nodea1');
  const platforms = [{ os: 'linux', architecture: 'arm64', variant: 'v8' }];
  node?.answers.set('image.describe-remote', () => ({
    mediaType: 'm',
    digest: 'd',
    sizeBytes: 1,
    platforms,
  }));
  t.deepEqual(await api.get('/distribution/reg:5000/a/b:1/json'), {
    Descriptor: { mediaType: 'm', digest: 'd', size: 1 },
    Platforms: platforms,
  });
  const asked: Json[] = [];
  node?.answers.set('image.login', (params) => {
    asked.push(params);
    return {};
  });
  const body = { username: 'u', password: 'p', serveraddress: 'reg:5000' };
  const login = await api.send('POST', '/auth', body);
  t.deepEqual([login.status, login.json], [200, { Status: 'Login Succeeded', IdentityToken: '' }]);
  t.is(asked[0].server, 'reg:5000');
  t.deepEqual(JSON.parse(Buffer.from(asked[0].registryAuth, 'base64url').toString()), {
    username: 'u',
    password: 'p',
  });
  t.is((await api.send('POST', '/auth', { ...body, username: 1 })).status, 400);
  if (node !== undefined) node.connected = false;
  t.is((await api.send('POST', '/auth', body)).status, 503);
});

test("patterns are those of Go's path.Match", (t) => {
  const fits = (pattern: string, text: string): boolean => goPattern(pattern).test(text);
  t.true(fits('a*', 'abc') && fits('*/b', 'a/b') && fits('a?c', 'abc') && fits('[a-c]x', 'bx'));
  t.true(fits('[^a-c]x', 'dx') && fits('\\*', '*') && fits('a.b', 'a.b') && fits('[\\]]', ']'));
  t.false(fits('a*', 'a/b') || fits('a.b', 'axb') || fits('[^a-c]x', 'bx') || fits('a', 'ab'));
  for (const bad of ['[a', '[z-a]', '[]', 'a\\'])
    t.throws(() => goPattern(bad), { message: /syntax error in pattern/ }, bad);
  t.false(fits('*a'.repeat(40) + 'b', 'a'.repeat(2000)), 'in linear time');
});
