import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type Pack, pack } from 'tar-stream';
import { hexOf, sha256Of } from './digest.ts';
import { CONFIG_TYPE, MANIFEST_TYPE } from './manifest.ts';

/** One member of a layer. Paths have no leading slash; parents that are not listed come into being as root's, 0755. */
export type LayerEntry =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly content: Buffer | string;
      readonly mode?: number;
    }
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

/** A layer as registries hold it. */
export interface BuiltLayer {
  /** Of the compressed bytes. */
  readonly digest: string;
  readonly diffId: string;
  /** tar, gzip. */
  readonly bytes: Buffer;
}

/** The part of an image's configuration that its maker chooses, in the image-spec's own spelling. */
export interface BuiltImageConfig {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly WorkingDir?: string;
  readonly User?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  readonly Volumes?: Readonly<Record<string, object>>;
}

export interface BuiltImage {
  /** `name:tag` */
  readonly reference: string;
  /** Digest of `config`. */
  readonly id: string;
  readonly config: Buffer;
  readonly manifest: Buffer;
  /** Lowest first. */
  readonly layers: readonly BuiltLayer[];
}

const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';
/** The same input gives the same digests. */
const EPOCH = new Date(0);

/** Makes a layer of the entries. */
export async function buildLayer(entries: readonly LayerEntry[]): Promise<BuiltLayer> {
  const archive = pack();
  for (const entry of entries) addEntry(archive, entry);
  archive.finalize();
  const tar = await buffer(archive);
  const bytes = await promisify(gzip)(tar, { level: 6 });
  return { digest: sha256Of(bytes), diffId: sha256Of(tar), bytes };
}

function addEntry(archive: Pack, entry: LayerEntry): void {
  const common = { name: entry.path, mtime: EPOCH, uid: 0, gid: 0 };
  if (entry.kind === 'symlink') archive.entry({ ...common, type: 'symlink', linkname: entry.target });
  else if (entry.kind === 'directory')
    archive.entry({ ...common, type: 'directory', mode: entry.mode ?? 0o755 });
  else archive.entry({ ...common, type: 'file', mode: entry.mode ?? 0o644 }, Buffer.from(entry.content));
}

/** Puts layers, lowest first, and a configuration together to an image for this machine's architecture. */
export function buildImage(
  reference: string,
  layers: readonly BuiltLayer[],
  config: BuiltImageConfig,
): BuiltImage {
  const configBytes = Buffer.from(
    JSON.stringify({
      created: EPOCH.toISOString(),
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: sha256Of(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: describe(CONFIG_TYPE, configBytes),
      layers: layers.map((layer) => describe(LAYER_TYPE, layer.bytes)),
    }),
  );
  return { reference, id: sha256Of(configBytes), config: configBytes, manifest, layers };
}

/** The images as one archive, as `docker save` writes it and `docker load` and ImageService.importTar read it. */
export function imageArchive(images: readonly BuiltImage[]): Readable {
  const archive = pack();
  const blobs = new Map<string, Buffer>();
  for (const image of images) {
    blobs.set(image.id, image.config);
    for (const layer of image.layers) blobs.set(layer.digest, layer.bytes);
  }
  const manifest = images.map((image) => ({
    Config: blobName(image.id),
    RepoTags: [image.reference],
    Layers: image.layers.map((layer) => blobName(layer.digest)),
  }));
  for (const [digest, bytes] of blobs) archive.entry({ name: blobName(digest), mtime: EPOCH }, bytes);
  archive.entry({ name: 'manifest.json', mtime: EPOCH }, JSON.stringify(manifest));
  archive.finalize();
  return Readable.from(archive);
}

function blobName(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
