/** What managers ask of a node's images, answered from a real store and with a real registry. */
import { setMaxListeners } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { type BuiltImage, buildImage, buildLayer, imageArchive } from '../../../agent/image/build-tar.ts';
import type { ImageUser } from '../../../agent/image/image-removal.ts';
import { type ImageAnswers, imageAnswers } from '../../../agent/image/image-methods.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import {
  ConflictError,
  InvalidError,
  NotFoundError,
  UnauthorizedError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import type { ImageEvent, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { imageEvent, imageMethods } from '../../../shared/wire/node-methods/image.ts';
import { pushImage, REGISTRY_USER, startRegistry } from '../../harness/registry.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const forever = new AbortController().signal;
setMaxListeners(0, forever);

interface TestNode extends ImageAnswers, AsyncDisposable {
  readonly dir: string;
  /** What runs, by image id. */
  readonly users: Map<string, ImageUser>;
  readonly service: ImageService;
}

async function node(): Promise<TestNode> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-images-'));
  const service = await ImageService.open({ dir, logger: silentLogger });
  const users = new Map<string, ImageUser>();
  return {
    ...imageAnswers(service, (id) => users.get(id)),
    ...{ dir, users, service },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

async function image(reference: string, ...marks: readonly string[]): Promise<BuiltImage> {
  const layers = await Promise.all(
    marks.map((mark) =>
      buildLayer([{ kind: 'file', path: `d/${mark}`, content: `${mark} `.repeat(20_000) }]),
    ),
  );
  return buildImage(reference, layers, { Env: ['A=1'], Labels: { kind: 'test' } });
}

function load({ streams }: ImageAnswers, archive: Readable | Buffer): AsyncIterable<StreamChunk> {
  const input = Buffer.isBuffer(archive) ? Readable.from([archive]) : archive;
  return streams['image.load']({}, input as AsyncIterable<Buffer>, forever);
}

async function eventsOf(stream: AsyncIterable<StreamChunk>): Promise<ImageEvent[]> {
  const events: ImageEvent[] = [];
  for await (const { data } of stream) events.push(imageEvent.parse(JSON.parse(data.toString())));
  return events;
}

async function bytesOf(stream: AsyncIterable<StreamChunk>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const { data } of stream) parts.push(data);
  return Buffer.concat(parts);
}

function noInput(): AsyncIterable<Buffer> {
  return Readable.from([]);
}

function pull({ streams }: ImageAnswers, reference: string, more: object = {}): Promise<ImageEvent[]> {
  return eventsOf(streams['image.pull']({ reference, ...more }, noInput(), forever));
}

const remove = { force: false, check: false };

test('a pull tells of every layer, and of layers that are here already', async (t) => {
  await using registry = await startRegistry();
  await using one = await node();
  const small = await image('small:1', 'a', 'b');
  const large = buildImage('large:1', [...small.layers, await buildLayer([])], {});
  const first = await pull(one, await pushImage(registry, small));
  t.deepEqual(first[0], { kind: 'begin', repository: `${registry.address}/small`, tag: '1' });
  const ids = small.layers.map((layer) => layer.digest.slice(7, 19));
  for (const id of ids) {
    const steps = first.flatMap((event) => (event.kind === 'layer' && event.id === id ? [event.step] : []));
    t.deepEqual([steps[0], ...steps.slice(-3)], ['pulling', 'downloaded', 'extracting', 'pulled']);
    const last = first.findLast((event) => event.kind === 'layer' && event.id === id && event.total);
    t.true(last?.kind === 'layer' && last.current === last.total && (last.total ?? 0) > 0);
  }
  t.like(first.at(-1), { kind: 'pulled', isNew: true, name: `${registry.address}/small:1` });
  const second = await pull(one, await pushImage(registry, large));
  const existing = second.filter((event) => event.kind === 'layer' && event.step === 'exists');
  t.deepEqual(existing.map((event) => (event.kind === 'layer' ? event.id : '')).toSorted(), ids.toSorted());
  t.like((await pull(one, `${registry.address}/large:1`)).at(-1), { kind: 'pulled', isNew: false });
  await t.throwsAsync(pull(one, `${registry.address}/large:1`, { platform: 'linux/s390x' }), {
    message: /is for linux\/\w+, not for the platform linux\/s390x/,
  });
  await t.throwsAsync(pull(one, `${registry.address}/large:1`, { platform: 'plan9' }), {
    message: /platform "plan9" is not linux/,
  });
});

test('list and inspect: names, sizes, configuration, history; the answers fit their schemas', async (t) => {
  await using one = await node();
  const built = await image('listed:1', 'a', 'b');
  await eventsOf(load(one, imageArchive([built])));
  const listed = await one.methods['image.list']({}, forever);
  t.like(listed[0], { id: built.id, repoTags: ['listed:1'], repoDigests: [], labels: { kind: 'test' } });
  t.notThrows(() => imageMethods['image.list'].result.parse(listed));
  t.is(
    listed[0]?.sizeBytes,
    listed[0]?.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0),
  );
  for (const reference of ['listed:1', built.id, built.id.slice(7, 12), built.id.slice(0, 30)]) {
    const info = await one.methods['image.inspect']({ reference }, forever);
    t.is(info.id, built.id, reference);
    t.notThrows(() => imageMethods['image.inspect'].result.parse(info));
    t.deepEqual(
      info.diffIds,
      built.layers.map((layer) => layer.diffId),
    );
  }
  const missing = one.methods['image.inspect']({ reference: 'no/such:1' }, forever);
  await t.throwsAsync(missing, { instanceOf: NotFoundError, message: 'No such image: no/such:1' });
});

test('what is saved is loaded as the same image, byte for byte; the archive is an OCI layout too', async (t) => {
  await using registry = await startRegistry();
  await using one = await node();
  await using two = await node();
  await using three = await node();
  const pulled = await image('pulled:1', 'a', 'b', 'c');
  const loaded = await image('loaded:1', 'b');
  const reference = await pushImage(registry, pulled);
  await pull(one, reference);
  await eventsOf(load(one, imageArchive([loaded])));
  await one.methods['image.tag']({ reference: 'loaded:1', target: 'loaded:2' }, forever);
  const save = (...references: string[]) =>
    bytesOf(one.streams['image.save']({ references }, noInput(), forever));
  const archive = await save(reference, 'loaded');
  t.deepEqual(await save(reference, 'loaded'), archive, 'the same images, the same bytes');
  const events = await eventsOf(load(two, archive));
  t.deepEqual(
    events.filter((event) => event.kind === 'loaded'),
    [
      { kind: 'loaded', id: pulled.id, name: reference },
      { kind: 'loaded', id: loaded.id, name: 'loaded:1' },
      { kind: 'loaded', id: loaded.id, name: 'loaded:2' },
    ],
  );
  // Bytes may come in any pieces, and compressed.
  const pieces = Array.from(gzipSync(archive).subarray(0, 20), (byte) => Buffer.from([byte]));
  const drops = Readable.from([...pieces, gzipSync(archive).subarray(20)]);
  t.is((await eventsOf(load(two, drops))).filter((event) => event.kind === 'loaded').length, 3);
  // A load that breaks off leaves nothing and says why.
  const broken = async function* (): AsyncGenerator<Buffer> {
    yield archive.subarray(0, 5_000);
    throw new UnavailableError('the session ended');
  };
  await t.throwsAsync(eventsOf(load(three, Readable.from(broken()))), { message: 'the session ended' });
  t.deepEqual(await readdir(join(three.dir, 'tmp')), []);
  // Without Docker's manifest it is an OCI layout.
  const text = archive.toString('latin1').replaceAll('manifest.json', 'manifest.txt_'.slice(0, 13));
  t.false(text.includes('manifest.json'));
  const layout = withChecksums(Buffer.from(text, 'latin1'));
  await eventsOf(load(three, layout));
  const ids = (await three.methods['image.list']({}, forever)).map(({ id }) => id);
  t.deepEqual(ids.toSorted(), [pulled.id, loaded.id].toSorted());
  await t.throwsAsync(save('nosuch:1'), { instanceOf: NotFoundError });
});

/** tar's header checksums (pax(1)) after a change of names. */
function withChecksums(tar: Buffer): Buffer {
  for (let at = 0; at + 512 <= tar.length; ) {
    const header = tar.subarray(at, at + 512);
    if (header[0] === 0) break;
    const size = Number.parseInt(header.toString('latin1', 124, 135), 8) || 0;
    header.fill(0x20, 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return tar;
}

test('names are taken off one by one; with the last one the image and its own layers go', async (t) => {
  await using registry = await startRegistry();
  await using one = await node();
  const built = await image('named:1', 'a', 'b');
  const other = buildImage('sharing:1', built.layers.slice(0, 1), {});
  const reference = await pushImage(registry, built);
  await pull(one, reference);
  await eventsOf(load(one, imageArchive([other])));
  const { methods } = one;
  await methods['image.tag']({ reference, target: 'second:1' }, forever);
  const byId = methods['image.remove']({ reference: built.id, ...remove }, forever);
  await t.throwsAsync(byId, { instanceOf: ConflictError, message: /must be forced.*multiple repositories/ });
  const untagged = await methods['image.remove']({ reference: 'second:1', ...remove }, forever);
  t.deepEqual(untagged, { untagged: ['second:1'], deleted: [] });
  const checked = await methods['image.remove']({ reference, ...remove, check: true }, forever);
  t.deepEqual(checked, { untagged: [], deleted: [] });
  const gone = await methods['image.remove']({ reference, ...remove }, forever);
  t.deepEqual([gone.untagged.length, gone.deleted[0], gone.deleted.length], [2, built.id, 2]);
  t.deepEqual(
    (await methods['image.list']({}, forever)).map(({ id }) => id),
    [other.id],
  );
  const left = (await readdir(join(one.dir, 'l'))).filter((name) => !name.includes('.'));
  t.is(left.length, 1, 'the layer that both had stays');
  await methods['image.remove']({ reference: 'sharing:1', ...remove }, forever);
  t.deepEqual(await readdir(join(one.dir, 'l')), []);
  t.deepEqual(await readdir(join(one.dir, 'blobs/sha256')), []);
});

test('what is in use stays, whatever is asked', async (t) => {
  await using one = await node();
  const built = await image('used:1', 'a');
  await eventsOf(load(one, imageArchive([built])));
  const { methods, users } = one;
  const refused = (reference: string, force: boolean, message: RegExp) =>
    t.throwsAsync(methods['image.remove']({ reference, force, check: false }, forever), {
      instanceOf: ConflictError,
      message,
    });
  users.set(built.id, { kind: 'container', id: 'c'.repeat(64), running: true });
  await refused(
    'used:1',
    false,
    /^conflict: unable to remove repository reference "used:1" \(must force\) - container cccccccccccc is using its referenced image [a-f0-9]{12}$/,
  );
  await refused(
    built.id,
    true,
    /cannot be forced\) - image is being used by running container cccccccccccc$/,
  );
  users.set(built.id, { kind: 'task' });
  await refused('used:1', false, /a task is using/);
  const forced = await methods['image.remove']({ reference: 'used:1', force: true, check: false }, forever);
  t.deepEqual(forced, { untagged: ['used:1'], deleted: [] });
  const all = { all: true, labels: [], withoutLabels: [] };
  t.deepEqual((await methods['image.prune'](all, forever)).deleted, []);
  t.is((await methods['image.list']({}, forever)).length, 1);
  users.clear();
  const pruned = await methods['image.prune']({ ...all, all: false }, forever);
  t.deepEqual([pruned.deleted[0], pruned.reclaimedBytes > 0], [built.id, true]);
});

test('a prune takes what has no tag, or all; and what fits', async (t) => {
  await using one = await node();
  const [a, b] = [await image('a:1', 'a'), await image('b:1', 'b')];
  await eventsOf(load(one, imageArchive([a, b])));
  const { methods } = one;
  const prune = async (params: object): Promise<number> => {
    const all = { all: true, labels: [], withoutLabels: [], ...params };
    return (await methods['image.prune'](all, forever)).deleted.length;
  };
  t.is(await prune({ all: false }), 0);
  t.is(await prune({ labels: ['kind=other'] }), 0);
  t.is(await prune({ withoutLabels: ['kind'] }), 0);
  t.is(await prune({ createdBeforeMs: -1 }), 0);
  await methods['image.tag']({ reference: 'a:1', target: 'b:1' }, forever);
  t.is(await prune({ all: false }), 2, 'b lost its name to a: the image and its layer');
  t.is(await prune({ labels: ['kind=test'], createdBeforeMs: Date.now() }), 2);
  t.is((await methods['image.list']({}, forever)).length, 0);
});

test('a push uploads what the registry lacks, and another node pulls the same image', async (t) => {
  await using registry = await startRegistry('127.0.0.1', 0, { closed: true });
  await using one = await node();
  await using two = await node();
  const built = await image('mine:1', 'a', 'b');
  await eventsOf(load(one, imageArchive([built])));
  const target = `${registry.address}/a/b:2`;
  await one.methods['image.tag']({ reference: 'mine:1', target }, forever);
  const { username, password } = REGISTRY_USER;
  const header = (secret: string): string =>
    Buffer.from(JSON.stringify({ username, password: secret })).toString('base64url');
  const push = (secret: string) =>
    eventsOf(
      one.streams['image.push']({ reference: target, registryAuth: header(secret) }, noInput(), forever),
    );
  await t.throwsAsync(push('wrong'), { instanceOf: UnauthorizedError });
  const first = await push(password);
  t.is(first.filter((event) => event.kind === 'layer' && event.step === 'pushed').length, 2);
  const last = first.at(-1);
  const digest = last?.kind === 'pushed' ? last.digest : '';
  const again = await push(password);
  t.is(again.filter((event) => event.kind === 'layer' && event.step === 'pushed-before').length, 2);
  await t.throwsAsync(pull(two, target), { message: /pull access denied/ });
  await pull(two, target, { registryAuth: header(password) });
  t.is((await two.methods['image.inspect']({ reference: target }, forever)).id, built.id);
  const describe = (registryAuth: string) =>
    two.methods['image.describe-remote']({ reference: target, registryAuth }, forever);
  const described = await describe(header(password));
  t.like(described, { digest, platforms: [{ os: 'linux' }] });
  await t.throwsAsync(describe(header('wrong')), { instanceOf: UnauthorizedError });
  const login = (secret: string) =>
    two.methods['image.login'](
      { server: `http://${registry.address}/v2/`, registryAuth: header(secret) },
      forever,
    );
  t.deepEqual(await login(password), {});
  await t.throwsAsync(login('wrong'), { instanceOf: UnauthorizedError, message: /unauthorized/ });
});

test('no registry is asked about what was only loaded; malformed names are refused', async (t) => {
  await using one = await node();
  await eventsOf(load(one, imageArchive([await image('docker.io/library/mine:1', 'a')])));
  const asked = one.methods['image.describe-remote']({ reference: 'mine:1' }, forever);
  await t.throwsAsync(asked, { instanceOf: NotFoundError, message: /loaded here/ });
  const inspected = one.methods['image.inspect']({ reference: 'A b' }, forever);
  await t.throwsAsync(inspected, { instanceOf: InvalidError });
  const tagged = one.methods['image.tag'](
    { reference: 'mine:1', target: `x@sha256:${'0'.repeat(64)}` },
    forever,
  );
  await t.throwsAsync(tagged, { message: /digest reference/ });
  await t.throwsAsync(eventsOf(load(one, Buffer.from('no archive'))), { message: /archive/ });
  const xz = Buffer.from('fd377a585a0000', 'hex');
  await t.throwsAsync(eventsOf(load(one, xz)), { message: /compressed by xz is not supported/ });
  t.deepEqual(await readdir(join(one.dir, 'tmp')), []);
});

test('an image whose configuration is damaged is listed, refused to be used, and can be removed', async (t) => {
  await using one = await node();
  const built = await image('damaged:1', 'a');
  await eventsOf(load(one, imageArchive([built])));
  await writeFile(join(one.dir, 'blobs/sha256', built.id.slice(7)), '{}');
  const reopened = await ImageService.open({ dir: one.dir, logger: silentLogger });
  const { methods, streams } = imageAnswers(reopened, () => undefined);
  t.like((await methods['image.list']({}, forever))[0], {
    id: built.id,
    repoTags: ['damaged:1'],
    labels: {},
  });
  await t.throwsAsync(methods['image.inspect']({ reference: 'damaged:1' }, forever), { message: /damaged/ });
  const saving = bytesOf(streams['image.save']({ references: ['damaged:1'] }, noInput(), forever));
  await t.throwsAsync(saving, { message: /damaged/ });
  const pruned = await methods['image.prune']({ all: true, labels: [], withoutLabels: [] }, forever);
  t.is(pruned.deleted[0], built.id);
});

test('a reader of a save that leaves takes nothing along', async (t) => {
  await using one = await node();
  await eventsOf(load(one, imageArchive([await image('left:1', 'a', 'b')])));
  const saving = one.streams['image.save']({ references: ['left:1'] }, noInput(), forever);
  for await (const chunk of saving) {
    t.true(chunk.data.length > 0);
    break;
  }
  // Pins are gone with it: everything can be removed.
  await one.methods['image.remove']({ reference: 'left:1', ...remove }, forever);
  t.deepEqual(await readdir(join(one.dir, 'l')), []);
});
