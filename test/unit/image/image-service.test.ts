import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { once, setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { buildExampleImage } from '../../../deploy/local/example-image.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  buildImage,
  buildLayer,
  imageArchive,
} from '../../../agent/image/build-tar.ts';
import { sha256Of } from '../../../agent/image/digest.ts';
import {
  ImageInvalidError,
  ImageNotFoundError,
  RegistryUnavailableError,
} from '../../../agent/image/errors.ts';
import { ImageService } from '../../../agent/image/image-service.ts';
import { freePort, pushBlob, pushImage, pushManifest, startRegistry } from '../../harness/registry.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

const forever = new AbortController().signal;
setMaxListeners(0, forever); // tests share it

interface Store extends AsyncDisposable {
  readonly dir: string;
  open(): Promise<ImageService>;
}

async function temporaryStore(): Promise<Store> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-images-'));
  return {
    dir,
    open: () => ImageService.open({ dir, logger: silentLogger }),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

/** Layers of different sizes with some text each, then one that removes a file of the first. */
async function sampleImage(reference: string): Promise<BuiltImage> {
  const layers: BuiltLayer[] = [];
  for (let i = 0; i < 5; i += 1) {
    const content = `${reference} ${i} `.repeat(2_000 * (i + 1));
    layers.push(await buildLayer([{ kind: 'file', path: `dir/file${i}`, content }]));
  }
  layers.push(await buildLayer([{ kind: 'file', path: 'dir/.wh.file0', content: '' }]));
  return buildImage(reference, layers, {
    Env: ['A=1'],
    Entrypoint: ['/bin/x'],
    ExposedPorts: { '80/tcp': {} },
    Labels: { color: 'red' },
  });
}

/** A server that answers as told; for what a healthy registry does not do. */
async function serve(listener: RequestListener): Promise<AsyncDisposable & { readonly address: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    address: `127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Serves one image as `<address>/a:1`; `intercept` answers true where it took a request over. */
function serveImage(
  image: BuiltImage,
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean,
) {
  const blobs = new Map(
    [image.config, ...image.layers.map((layer) => layer.bytes)].map((b) => [sha256Of(b), b]),
  );
  return serve((request, response) => {
    if (intercept(request, response)) return;
    const [, kind, name] = /^\/v2\/a\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
    const blob = kind === 'blobs' ? blobs.get(name ?? '') : undefined;
    if (request.url === '/v2/') response.end('{}');
    else if (kind === 'manifests') {
      response.setHeader('docker-content-digest', sha256Of(image.manifest));
      response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json').end(image.manifest);
    } else if (blob !== undefined) response.end(blob);
    else response.writeHead(404).end();
  });
}

test('a multi-layer image is pulled, unpacked with its whiteouts, and found again after a restart', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const image = await sampleImage('sample:1');
  const reference = await pushImage(registry, image);
  const pulled = await (await store.open()).ensure(reference, undefined, forever);
  t.is(pulled.id, image.id);
  t.is(pulled.digest, sha256Of(image.manifest));
  t.deepEqual(pulled.repoTags, [reference]);
  t.deepEqual(pulled.config.env, ['A=1']);
  t.deepEqual(pulled.config.entrypoint, ['/bin/x']);
  t.deepEqual(pulled.config.exposedPorts, ['80/tcp']);
  t.deepEqual(pulled.config.labels, { color: 'red' });
  t.is(pulled.layers.length, 6);
  const [top, next] = pulled.layers;
  t.deepEqual(await readdir(join(top ?? '', 'dir')), ['file0']);
  t.true((await import('node:fs')).lstatSync(join(top ?? '', 'dir/file0')).isCharacterDevice());
  t.is(await readFile(join(next ?? '', 'dir/file4'), 'utf8'), 'sample:1 4 '.repeat(10_000));
  t.deepEqual(await readdir(join(store.dir, 'tmp')), []);

  const reopened = await store.open();
  t.deepEqual(await reopened.resolveLocal(reference), pulled);
  t.deepEqual(await reopened.resolveLocal(pulled.id.slice(7, 19)), pulled);
  t.deepEqual(
    (await reopened.catalog.list()).map(({ id }) => id),
    [image.id],
  );
});

test('callers that ask at once share one pull, and one that gives up does not end it', async (t) => {
  await using store = await temporaryStore();
  const image = await sampleImage('a:1');
  const asked: string[] = [];
  await using registry = await serveImage(image, (request) => {
    asked.push(`${request.method} ${request.url}`);
    return false;
  });
  const service = await store.open();
  const gaveUp = new AbortController();
  const reference = `${registry.address}/a:1`;
  const first = service.ensure(reference, undefined, gaveUp.signal);
  const others = Array.from({ length: 20 }, () => service.ensure(reference, undefined, forever));
  gaveUp.abort(new Error('gave up'));
  await t.throwsAsync(first, { message: 'gave up' });
  const ids = (await Promise.all(others)).map(({ id }) => id);
  t.deepEqual(new Set(ids), new Set([image.id]));
  const blobs = asked.filter((line) => line.includes('/blobs/'));
  t.is(blobs.length, new Set(blobs).size);
  t.is(blobs.length, 7);
});

test('layers that two images share are fetched once', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const shared = await buildLayer([{ kind: 'file', path: 'shared', content: 'x' }]);
  const one = buildImage('one:1', [shared], {});
  const extra = await buildLayer([{ kind: 'file', path: 'extra', content: 'y' }]);
  const two = buildImage('two:1', [shared, extra], {});
  const service = await store.open();
  const first = await service.ensure(await pushImage(registry, one), undefined, forever);
  const second = await service.ensure(await pushImage(registry, two), undefined, forever);
  t.is(second.layers[1], first.layers[0]);
  t.is((await readdir(join(store.dir, 'l'))).filter((name) => !name.includes('.')).length, 2);
});

test('a tag that moved is pulled again, and the registry being away leaves what is here', async (t) => {
  await using store = await temporaryStore();
  const service = await store.open();
  const registry = await startRegistry();
  const layer = (text: string) => buildLayer([{ kind: 'file', path: 'f', content: text }]);
  const old = buildImage('moving:1', [await layer('old')], {});
  const reference = await pushImage(registry, old);
  t.is((await service.ensure(reference, undefined, forever)).id, old.id);
  const moved = buildImage('moving:1', [await layer('new')], {});
  await pushImage(registry, moved);
  t.is((await service.ensure(reference, undefined, forever)).id, moved.id);
  await registry[Symbol.asyncDispose]();
  t.is((await service.ensure(reference, undefined, forever)).id, moved.id);
  const missing = service.ensure(`${registry.address}/other:1`, undefined, forever);
  const error = await t.throwsAsync(missing, { instanceOf: RegistryUnavailableError });
  t.true(error.temporary);
});

test("an unknown tag is a permanent error with the registry's own message", async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  await pushImage(registry, await sampleImage('sample:1'));
  const service = await store.open();
  const error = await t.throwsAsync(service.ensure(`${registry.address}/sample:nope`, undefined, forever), {
    instanceOf: ImageNotFoundError,
    message: new RegExp(`^manifest for ${registry.address}/sample:nope not found: manifest unknown`),
  });
  t.false(error.temporary);
});

test('an index gives the manifest for this platform, and says what it has when there is none', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const image = await sampleImage('multi:part');
  await pushImage(registry, image);
  const type = 'application/vnd.oci.image.index.v1+json';
  const indexFor = (...architectures: string[]): Buffer => {
    const manifests = architectures.map((architecture) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: sha256Of(image.manifest),
      size: image.manifest.length,
      platform: { os: 'linux', architecture },
    }));
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests }));
  };
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  const good = indexFor('s390x', here);
  await pushManifest(registry.address, 'multi', 'good', good, type);
  await pushManifest(registry.address, 'multi', 'bad', indexFor('s390x'), type);
  const service = await store.open();
  const pulled = await service.ensure(`${registry.address}/multi:good`, undefined, forever);
  t.is(pulled.id, image.id);
  t.is(pulled.digest, sha256Of(good));
  const pinned = await service.ensure(`${registry.address}/multi@${sha256Of(good)}`, undefined, forever);
  t.is(pinned.id, image.id);
  await t.throwsAsync(service.ensure(`${registry.address}/multi:bad`, undefined, forever), {
    instanceOf: ImageInvalidError,
    message: /no matching manifest for linux\/.* has linux\/s390x/,
  });
});

test('a blob that was corrupted in the registry is refused', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const image = await sampleImage('sample:1');
  const reference = await pushImage(registry, image);
  const digest = image.layers[2]?.digest ?? '';
  const hex = digest.slice(7);
  const file = join(registry.storageDir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  const bytes = await readFile(file);
  bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 0xff;
  await writeFile(file, bytes);
  const service = await store.open();
  await t.throwsAsync(service.ensure(reference, undefined, forever), {
    instanceOf: ImageInvalidError,
    message: new RegExp(`${digest} .* is damaged`),
  });
  t.deepEqual(await service.catalog.list(), []);
  t.deepEqual(await readdir(join(store.dir, 'tmp')), []);
});

test('a layer whose content is not the one that the configuration names is refused', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const image = await sampleImage('sample:1');
  const lie = await buildLayer([{ kind: 'file', path: 'f', content: 'a lie' }]);
  const manifest = JSON.parse(image.manifest.toString());
  manifest.layers[0] = { ...manifest.layers[0], digest: lie.digest, size: lie.bytes.length };
  await pushImage(registry, image);
  await pushBlob(registry.address, 'sample', lie.bytes);
  const bytes = Buffer.from(JSON.stringify(manifest));
  await pushManifest(registry.address, 'sample', 'lie', bytes, manifest.mediaType);
  const service = await store.open();
  await t.throwsAsync(service.ensure(`${registry.address}/sample:lie`, undefined, forever), {
    instanceOf: ImageInvalidError,
    message: /is damaged: it unpacks to/,
  });
});

test('a download that breaks goes on from where it broke', async (t) => {
  await using store = await temporaryStore();
  const noise = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i * 31 + (i >> 7)) & 255));
  const layer = await buildLayer([{ kind: 'file', path: 'noise', content: noise }]);
  const image = buildImage('a:1', [layer], {});
  const ranges: (string | undefined)[] = [];
  const half = Math.floor(layer.bytes.length / 2);
  await using registry = await serveImage(image, (request, response) => {
    if (!request.url?.endsWith(layer.digest)) return false;
    ranges.push(request.headers.range);
    if (ranges.length === 1) response.writeHead(503).end();
    else if (ranges.length === 2) {
      response.writeHead(200, { 'content-length': layer.bytes.length });
      response.write(layer.bytes.subarray(0, half), () => setImmediate(() => response.destroy()));
    } else {
      const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(start === 0 ? 200 : 206).end(layer.bytes.subarray(start));
    }
    return true;
  });
  const service = await store.open();
  const pulled = await service.ensure(`${registry.address}/a:1`, undefined, forever);
  t.deepEqual(await readFile(join(pulled.layers[0] ?? '', 'noise')), noise);
  t.is(ranges.length, 3);
  t.regex(ranges[2] ?? '', /^bytes=[1-9]\d*-$/);
});

test('tokens and credentials go where the registry asks for them, and not along with a redirect', async (t) => {
  await using store = await temporaryStore();
  const image = await sampleImage('a:1');
  const seenByStorage: (string | undefined)[] = [];
  await using storage = await serve((request, response) => {
    seenByStorage.push(request.headers.authorization);
    const blob = image.layers.find(({ digest }) => request.url === `/${digest}`);
    response.end(blob?.bytes);
  });
  const asked: string[] = [];
  await using tokens = await serve((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    const isAllowed =
      request.headers.authorization === `Basic ${Buffer.from('me:secret').toString('base64')}`;
    response.writeHead(isAllowed ? 200 : 401).end(JSON.stringify({ token: 'the-token' }));
  });
  await using registry = await serveImage(image, (request, response) => {
    if (request.url === '/v2/') return false;
    if (request.headers.authorization !== 'Bearer the-token') {
      const challenge = `Bearer realm="http://${tokens.address}/token",service="reg",scope="repository:a:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
      return true;
    }
    const digest = request.url?.split('/blobs/')[1];
    if (!image.layers.some((layer) => layer.digest === digest)) return false;
    response.writeHead(307, { location: `http://${storage.address}/${digest}` }).end();
    return true;
  });
  const service = await store.open();
  const reference = `${registry.address}/a:1`;
  await t.throwsAsync(service.ensure(reference, undefined, forever), { instanceOf: ImageNotFoundError });
  const auth = { username: 'me', password: 'secret' };
  t.is((await service.ensure(reference, auth, forever)).id, image.id);
  t.is(asked.at(-1), `/token?service=reg&scope=repository%3Aa%3Apull Basic ${btoa('me:secret')}`);
  t.deepEqual(new Set(seenByStorage), new Set([undefined]));
});

test('a hostile layer can not write outside its directory', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const outside = join(store.dir, 'outside');
  await mkdir(outside);
  const service = await store.open();
  const hostile = [
    [{ kind: 'file', path: '../../outside/evil', content: 'x' }],
    [
      { kind: 'symlink', path: 'link', target: outside },
      { kind: 'file', path: 'link/evil', content: 'x' },
    ],
    [
      { kind: 'symlink', path: 'link', target: '../../outside' },
      { kind: 'file', path: 'link/evil', content: 'x' },
    ],
  ] as const;
  for (const [i, entries] of hostile.entries()) {
    const image = buildImage(`hostile:${i}`, [await buildLayer(entries)], {});
    const reference = await pushImage(registry, image);
    await t.throwsAsync(service.ensure(reference, undefined, forever), { instanceOf: ImageInvalidError });
  }
  t.deepEqual(await readdir(outside), []);
});

test('archives: docker save and OCI layout, from a path, a stream, plain and compressed', async (t) => {
  await using store = await temporaryStore();
  const service = await store.open();
  const image = await buildExampleImage();
  const [imported] = await service.importTar(imageArchive([image]), forever);
  t.is(imported?.id, image.id);
  t.deepEqual(imported?.repoTags, ['shoal/example:latest']);
  t.deepEqual(imported?.config.entrypoint[0], '/bin/httpd');
  // there is no such image in any registry, and nobody is asked
  t.is((await service.ensure('shoal/example', undefined, forever)).id, image.id);

  const { buffer } = await import('node:stream/consumers');
  const { Readable } = await import('node:stream');
  const other = await sampleImage('other:2');
  const path = join(store.dir, 'other.tar.gz');
  await writeFile(path, gzipSync(await buffer(imageArchive([other, image]))));
  t.deepEqual(
    (await service.importTar(path, forever)).map(({ id }) => id),
    [other.id, image.id],
  );

  const layout = await sampleImage('layout:3');
  const blobs = [layout.config, layout.manifest, ...layout.layers.map((layer) => layer.bytes)];
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: sha256Of(layout.manifest),
        size: layout.manifest.length,
        annotations: { 'io.containerd.image.name': 'docker.io/library/layout:3' },
      },
    ],
  };
  const oci = await buildLayer([
    { kind: 'file', path: 'index.json', content: JSON.stringify(index) },
    ...blobs.map(
      (content) => ({ kind: 'file', path: `blobs/sha256/${sha256Of(content).slice(7)}`, content }) as const,
    ),
  ]);
  const [fromLayout] = await service.importTar(Readable.from([oci.bytes]), forever);
  t.is(fromLayout?.id, layout.id);
  t.deepEqual(fromLayout?.repoTags, ['layout:3']);

  await t.throwsAsync(service.importTar(Readable.from([Buffer.from('no archive')]), forever), {
    instanceOf: ImageInvalidError,
  });
  t.deepEqual(await readdir(join(store.dir, 'tmp')), []);
});

test('garbage collection keeps what is in use, imported, or shared, and the rest can be pulled again', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const service = await store.open();
  const shared = await buildLayer([{ kind: 'file', path: 'shared', content: 'x' }]);
  const extra = await buildLayer([{ kind: 'file', path: 'extra', content: 'y' }]);
  const kept = await service.ensure(
    await pushImage(registry, buildImage('kept:1', [shared], {})),
    undefined,
    forever,
  );
  const reference = await pushImage(registry, buildImage('dropped:1', [shared, extra], {}));
  const dropped = await service.ensure(reference, undefined, forever);
  const [imported] = await service.importTar(imageArchive([await sampleImage('imported:1')]), forever);
  t.deepEqual(await service.gc(new Set([kept.id])), [], 'all were just asked for');
  t.deepEqual(await service.gc(new Set([kept.id]), 0), [dropped.id]);
  t.deepEqual(
    (await service.catalog.list()).map(({ id }) => id).sort(),
    [kept.id, imported?.id ?? ''].sort(),
  );
  t.is(await readFile(join(kept.layers[0] ?? '', 'shared'), 'utf8'), 'x');
  await t.throwsAsync(readdir(dropped.layers[0] ?? ''), { code: 'ENOENT' });
  t.is((await service.ensure(reference, undefined, forever)).id, dropped.id);
  t.is(await readFile(join(dropped.layers[0] ?? '', 'extra'), 'utf8'), 'y');
});

test('what a killed process left unfinished is swept, and a half-removed layer is made again', async (t) => {
  await using registry = await startRegistry();
  await using store = await temporaryStore();
  const reference = await pushImage(registry, await sampleImage('sample:1'));
  const before = await (await store.open()).ensure(reference, undefined, forever);
  await mkdir(join(store.dir, 'tmp/half/unpacked'), { recursive: true });
  await rm(`${before.layers[2]}.json`);
  await rm(before.layers[3] ?? '', { recursive: true });
  await rm(join(store.dir, 'images.json'));
  const service = await store.open();
  t.deepEqual(await readdir(join(store.dir, 'tmp')), []);
  t.deepEqual(await service.ensure(reference, undefined, forever), before);
  t.deepEqual(await readdir(join(before.layers[3] ?? '', 'dir')), ['file2']);
});

test('nobody listening is temporary, a malformed reference is not', async (t) => {
  await using store = await temporaryStore();
  const service = await store.open();
  const port = await freePort();
  await t.throwsAsync(service.ensure(`127.0.0.1:${port}/a:1`, undefined, forever), {
    instanceOf: RegistryUnavailableError,
  });
  await t.throwsAsync(service.ensure('Bad:', undefined, forever), { name: 'InvalidError' });
});
