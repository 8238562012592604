/** From this machine to a registry. */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { ImageEvent, NodeStreams } from '../../shared/model/node-methods/index.ts';
import { InvalidError } from '../../shared/errors/index.ts';
import type { LayerArchive } from './content-store.ts';
import { partsOf, pinImages } from './image-parts.ts';
import { shortLayerId, throttled } from './image-progress.ts';
import type { ImageService } from './image-service.ts';
import { familiarRepository, parseReference, repositoryName } from './reference.ts';
import { parseRegistryAuth } from './registry-auth.ts';
import type { RegistrySession } from './registry-client.ts';
import { hasBlob, putManifest, uploadBlob, uploadBytes } from './registry-upload.ts';

const PARALLEL_LAYERS = 3;

/** Uploads what the registry does not have, then the manifest. Rejects with the registry's message. */
export async function pushImage(
  images: ImageService,
  { reference, registryAuth }: NodeStreams['image.push'],
  observe: (event: ImageEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const { catalog, registries } = images;
  const ref = parseReference(reference);
  if (ref.digest !== undefined || ref.tag === undefined)
    throw new InvalidError('cannot push a digest reference');
  const { id } = catalog.get(reference);
  using _pin = await pinImages(catalog, [id]);
  const { config, layers, manifest } = await partsOf(catalog, id);
  const session = await registries.open(ref, parseRegistryAuth(registryAuth), signal);
  observe({ kind: 'begin', repository: familiarRepository(ref), tag: ref.tag });
  for (const { digest } of layers) observe({ kind: 'layer', id: shortLayerId(digest), step: 'preparing' });
  await uploadAll(session, layers, observe, signal);
  await uploadBytes(session, config, signal);
  await putManifest(session, ref.tag, manifest, signal);
  await catalog.index.addDigest(id, `${repositoryName(ref)}@${manifest.digest}`);
  observe({ kind: 'pushed', tag: ref.tag, digest: manifest.digest, sizeBytes: manifest.bytes.length });
}

async function uploadAll(
  session: RegistrySession,
  layers: readonly LayerArchive[],
  observe: (event: ImageEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const own = AbortSignal.any([signal, failed.signal]);
  const left = [...new Map(layers.map((layer) => [layer.digest, layer])).values()];
  const work = async (): Promise<void> => {
    for (let layer = left.shift(); layer !== undefined; layer = left.shift())
      await upload(session, layer, observe, own);
  };
  const workers = Array.from({ length: PARALLEL_LAYERS }, () =>
    work().catch((error: unknown) => {
      failed.abort(error);
    }),
  );
  await Promise.all(workers);
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
}

async function upload(
  session: RegistrySession,
  layer: LayerArchive,
  observe: (event: ImageEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const { digest, sizeBytes, path } = layer;
  const id = shortLayerId(digest);
  if (await hasBlob(session, digest, signal)) return observe({ kind: 'layer', id, step: 'pushed-before' });
  const onBytes = throttled({ digest, size: sizeBytes }, observe, 'pushing');
  const open = (): Readable => Readable.from(counted(path, onBytes), { objectMode: false });
  await uploadBlob(session, { digest, size: sizeBytes, open }, signal);
  observe({ kind: 'layer', id, step: 'pushed' });
}

async function* counted(path: string, onBytes: (sent: number) => void): AsyncGenerator<Buffer> {
  let sent = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    sent += chunk.length;
    onBytes(sent);
    yield chunk;
  }
}
