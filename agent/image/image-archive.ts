import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, type Gunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { z } from 'zod';
import { AppError } from '../../shared/errors/index.ts';
import { ImageInvalidError } from './errors.ts';
import { hexOf, sha256Of } from './digest.ts';
import { check, type Descriptor, parseJson, parseManifest, selectPlatform } from './manifest.ts';

/** One image of an archive. */
export interface ArchivedImage {
  readonly config: Buffer;
  /** References with a tag, as the archive gives them. */
  readonly tags: readonly string[];
  /** Files with the layers' archives, lowest first. */
  readonly layerPaths: readonly string[];
}

const dockerManifestSchema = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()) }),
);
const indexType = 'application/vnd.oci.image.index.v1+json';

/** The archive's members by name; each is a file with a number for a name, whatever the archive calls it. */
type Members = ReadonlyMap<string, string>;

/**
 * Reads an image archive, plain or gzip, as `docker save` writes it (manifest.json) or as an OCI layout (index.json).
 * Its members are put into `directory`, which is created and which the caller removes. Throws ImageInvalidError.
 */
export async function readImageArchive(
  input: string | Readable,
  directory: string,
  signal: AbortSignal,
): Promise<ArchivedImage[]> {
  await mkdir(directory, { mode: 0o700 });
  const source = typeof input === 'string' ? createReadStream(input) : input;
  const members = await spool(source, directory, signal);
  if (members.has('manifest.json')) return readDockerArchive(members);
  if (members.has('index.json')) return readOciLayout(members);
  throw new ImageInvalidError('this is no image archive: it holds neither manifest.json nor index.json');
}

/** Members refer to one another in any order: each is put on disk as it comes. */
async function spool(source: Readable, directory: string, signal: AbortSignal): Promise<Members> {
  const members = new Map<string, string>();
  const links = new Map<string, string>();
  const { head, whole } = await peek(source);
  const tar = extract();
  const unpacking = collectMembers(tar, directory, members, links, signal);
  unpacking.catch(() => undefined); // it is awaited below, unless what comes before fails
  try {
    await Promise.all([pipeline([whole, ...decompressor(head), tar], { signal }), unpacking]);
  } catch (cause) {
    source.destroy();
    signal.throwIfAborted();
    const isOurs = cause instanceof AppError || isDiskError(cause);
    throw isOurs ? cause : new ImageInvalidError('the image archive is damaged', { cause });
  }
  for (const [name, target] of links) {
    const file = members.get(target);
    if (file !== undefined) members.set(name, file);
  }
  return members;
}

/** How many bytes tell a compression from a tar. */
const HEAD_BYTES = 6;

/** The first bytes, and a stream that has them still. */
async function peek(source: Readable): Promise<{ head: Buffer; whole: Readable }> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let head: Buffer = Buffer.alloc(0);
  while (head.length < HEAD_BYTES) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  const rest = { [Symbol.asyncIterator]: () => chunks };
  const all = async function* (): AsyncGenerator<Buffer> {
    yield head;
    yield* rest;
  };
  return { head, whole: Readable.from(all(), { objectMode: false }) };
}

/** By their first bytes; the names that Docker's daemon knows besides gzip. */
const FOREIGN = [
  { name: 'bzip2', magic: '425a68' },
  { name: 'xz', magic: 'fd377a585a00' },
  { name: 'zstd', magic: '28b52ffd' },
];

/** Throws ImageInvalidError for a compression that is not gzip. */
function decompressor(head: Buffer): Gunzip[] {
  const hex = head.toString('hex');
  const foreign = FOREIGN.find(({ magic }) => hex.startsWith(magic));
  if (foreign !== undefined)
    throw new ImageInvalidError(
      `an image archive compressed by ${foreign.name} is not supported: decompress it first`,
    );
  return hex.startsWith('1f8b') ? [createGunzip()] : [];
}

async function collectMembers(
  tar: ReturnType<typeof extract>,
  directory: string,
  members: Map<string, string>,
  links: Map<string, string>,
  signal: AbortSignal,
): Promise<void> {
  for await (const entry of tar) {
    const name = posix.normalize(entry.header.name);
    const target = linkTarget(entry.header);
    if (target !== undefined) links.set(name, target);
    if (entry.header.type === 'file') {
      const file = join(directory, String(members.size));
      members.set(name, file);
      await pipeline(entry, createWriteStream(file, { mode: 0o600 }), { signal });
    } else {
      entry.resume();
    }
  }
}

/** docker save before version 25 links layers that two images share. */
function linkTarget(header: Header): string | undefined {
  if (!header.linkname) return undefined;
  if (header.type === 'link') return posix.normalize(header.linkname);
  return header.type === 'symlink' ? posix.join(posix.dirname(header.name), header.linkname) : undefined;
}

function isDiskError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

function memberOf(members: Members, name: string): string {
  const file = members.get(posix.normalize(name));
  if (file === undefined) throw new ImageInvalidError(`the image archive lacks ${name}`);
  return file;
}

async function readDockerArchive(members: Members): Promise<ArchivedImage[]> {
  const what = "the image archive's manifest.json";
  const json = parseJson(await readFile(memberOf(members, 'manifest.json')), what);
  const images = check(dockerManifestSchema, json, what);
  return Promise.all(
    images.map(async (image) => ({
      config: await readFile(memberOf(members, image.Config)),
      tags: image.RepoTags ?? [],
      layerPaths: image.Layers.map((layer) => memberOf(members, layer)),
    })),
  );
}

async function readOciLayout(members: Members): Promise<ArchivedImage[]> {
  const index = parseManifest(
    await readFile(memberOf(members, 'index.json')),
    indexType,
    'the image archive',
  );
  if (index.kind !== 'index') throw new ImageInvalidError("the image archive's index.json is no index");
  const images: ArchivedImage[] = [];
  for (const entry of index.index.manifests) {
    // containerd gives the whole name, others only a tag, which alone is no reference
    const named = entry.annotations?.['io.containerd.image.name'];
    const ref = named ?? entry.annotations?.['org.opencontainers.image.ref.name'];
    images.push({ ...(await readOciImage(members, entry)), tags: ref?.includes(':') ? [ref] : [] });
  }
  return images;
}

async function readOciImage(members: Members, entry: Descriptor): Promise<ArchivedImage> {
  const manifest = parseManifest(await blobOf(members, entry.digest), entry.mediaType, entry.digest);
  if (manifest.kind === 'index') return readOciImage(members, selectPlatform(manifest.index, entry.digest));
  return {
    config: await blobOf(members, manifest.config.digest),
    tags: [],
    layerPaths: manifest.layers.map((layer) => memberOf(members, blobMember(layer.digest))),
  };
}

async function blobOf(members: Members, digest: string): Promise<Buffer> {
  const bytes = await readFile(memberOf(members, blobMember(digest)));
  if (sha256Of(bytes) === digest) return bytes;
  throw new ImageInvalidError(`the image archive's blob ${digest} is damaged`);
}

function blobMember(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** A LayerSource's fetch for a layer that is a file already. */
export function linkLayer(from: string): (path: string) => Promise<void> {
  return (path) => link(from, path);
}
