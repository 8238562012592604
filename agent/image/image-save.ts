/**
 * Archives that are both what `docker save` writes (manifest.json, read by docker, podman and Shoal) and an OCI layout
 * (index.json: OCI image-spec, image-layout.md).
 */
import { createReadStream } from 'node:fs';
import type { Pack } from 'tar-stream';
import { tarBytes } from '../../shared/lib/tar-bytes.ts';
import { hexOf } from './digest.ts';
import type { ImageCatalog } from './image-catalog.ts';
import { type ImageParts, partsOf, pinImages } from './image-parts.ts';
import { canonicalName, familiarName, parseReference, repositoryName } from './reference.ts';

/** The same images give the same archive. */
const EPOCH = new Date(0);
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';

interface Wanted {
  readonly id: string;
  /** Canonical names with a tag. */
  readonly tags: readonly string[];
}

/** A name without tag and digest is all tags of it. Throws NotFoundError before the first byte. */
export async function* saveImages(
  catalog: ImageCatalog,
  references: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const wanted = collect(catalog, references);
  using _pin = await pinImages(
    catalog,
    wanted.map(({ id }) => id),
  );
  const images = await Promise.all(
    wanted.map(async ({ id, tags }) => ({ tags, parts: await partsOf(catalog, id) })),
  );
  yield* tarBytes((tar) => write(tar, images, signal));
}

function collect(catalog: ImageCatalog, references: readonly string[]): Wanted[] {
  const wanted = new Map<string, Set<string>>();
  for (const reference of references) {
    const tags = tagsUnder(catalog, reference);
    if (tags.length === 0) {
      const { id } = catalog.get(reference);
      wanted.set(id, wanted.get(id) ?? new Set());
    }
    for (const tag of tags) {
      const { id } = catalog.get(tag);
      wanted.set(id, (wanted.get(id) ?? new Set()).add(tag));
    }
  }
  return [...wanted].map(([id, tags]) => ({ id, tags: [...tags] }));
}

/** The tags that a name means: none for an id or a digest. */
function tagsUnder(catalog: ImageCatalog, reference: string): string[] {
  const { id, ref } = catalog.find(reference) ?? {};
  const isBare = !/[:@][^/]*$/.test(reference);
  if (isBare && (id === undefined || ref !== undefined)) {
    const repository = repositoryName(ref ?? parseReference(reference));
    const all = [...catalog.index.images.keys()].flatMap((one) => catalog.index.tagsOf(one));
    return all.filter((tag) => repositoryName(parseReference(tag)) === repository);
  }
  return ref?.tag === undefined || ref.digest !== undefined ? [] : [canonicalName(ref)];
}

async function write(
  tar: Pack,
  images: readonly { readonly tags: readonly string[]; readonly parts: ImageParts }[],
  signal: AbortSignal,
): Promise<void> {
  const seen = new Set<string>();
  const text = async (name: string, content: Buffer | string): Promise<void> => {
    signal.throwIfAborted();
    if (seen.has(name)) return;
    seen.add(name);
    await entry(tar, name, content);
  };
  await text('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  for (const { parts } of images) {
    for (const layer of parts.layers) {
      const name = blobName(layer.digest);
      if (seen.has(name)) continue;
      seen.add(name);
      await fileEntry(tar, name, layer.path, layer.sizeBytes, signal);
    }
    await text(blobName(parts.id), parts.config);
    await text(blobName(parts.manifest.digest), parts.manifest.bytes);
  }
  await text('index.json', JSON.stringify(ociIndex(images)));
  await text('manifest.json', JSON.stringify(images.map(dockerManifest)));
  tar.finalize();
}

function dockerManifest({ tags, parts }: { readonly tags: readonly string[]; readonly parts: ImageParts }) {
  return {
    Config: blobName(parts.id),
    RepoTags: tags.length === 0 ? null : tags.map((tag) => familiarName(parseReference(tag))),
    Layers: parts.layers.map((layer) => blobName(layer.digest)),
  };
}

/** An entry a name: containerd reads the whole one, others the tag. */
function ociIndex(images: readonly { readonly tags: readonly string[]; readonly parts: ImageParts }[]) {
  const manifests = images.flatMap(({ tags, parts: { manifest } }) => {
    const { mediaType, digest, bytes } = manifest;
    const descriptor = { mediaType, digest, size: bytes.length };
    if (tags.length === 0) return [descriptor];
    return tags.map((tag) => ({
      ...descriptor,
      annotations: {
        'io.containerd.image.name': tag,
        'org.opencontainers.image.ref.name': parseReference(tag).tag ?? 'latest',
      },
    }));
  });
  return { schemaVersion: 2, mediaType: INDEX_TYPE, manifests };
}

/** Resolves when the reader has taken it, so that no more than this entry waits. */
function entry(tar: Pack, name: string, content: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name, mtime: EPOCH, mode: 0o644 }, content, (error) => (error ? reject(error) : resolve()));
  });
}

function fileEntry(tar: Pack, name: string, path: string, size: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const sink = tar.entry({ name, size, mtime: EPOCH, mode: 0o644 }, (error) =>
      error ? reject(error) : resolve(),
    );
    const source = createReadStream(path, { signal });
    source.on('error', (error) => {
      reject(error);
      sink.destroy();
    });
    source.pipe(sink);
  });
}

function blobName(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
