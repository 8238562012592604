import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Mutex } from '../../shared/lib/mutex.ts';
import { replaceFile } from '../files/replace-file.ts';
import { NativeError } from '../native/errors.ts';
import { unpackLayer } from '../native/layer.ts';
import { hexOf, sha256Of, sha256OfStream } from './digest.ts';
import { ImageInvalidError } from './errors.ts';
import { layerTypeOf } from './manifest.ts';
import { SharedWork } from '../../shared/lib/shared-work.ts';

/** A layer on disk. */
export interface StoredLayer {
  readonly chainId: string;
  /** Absolute, ready as an overlayfs lowerdir. */
  readonly path: string;
  readonly sizeBytes: number;
}

/** The archive that a layer was unpacked from, byte by byte as it came. */
export interface LayerArchive {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
  /** As a manifest names it. */
  readonly mediaType: string;
}

/** What happens to a layer, as it does. */
export type LayerObserver = (step: 'exists' | 'downloaded' | 'extracting' | 'pulled') => void;

export interface LayerSource {
  readonly chainId: string;
  /** What the uncompressed tar must hash to. */
  readonly diffId: string;
  /** Of the archive that `fetch` makes, where it is known and verified. */
  readonly digest?: string;
  /** Makes the compressed (or plain) tar at `path`, a new file. Called only if the layer is missing. */
  readonly fetch: (path: string, signal: AbortSignal) => Promise<void>;
  readonly observe?: LayerObserver;
}

/** Many lowerdirs have to fit into one page of mount options, so their names are short: 80 bits of the chain id. */
const SHORT_ID_LENGTH = 20;

const layerNoteSchema = z.object({
  chainId: z.string(),
  sizeBytes: z.number(),
  archive: z.object({ digest: z.string(), sizeBytes: z.number(), mediaType: z.string() }).optional(),
});

/**
 * Content on disk, addressed by digest. One process owns the directory:
 *
 *     blobs/sha256/<hex>   image configurations
 *     l/<20 digits>        a layer, unpacked; the digits begin its chain id
 *     l/<20 digits>.layer  the archive that it came as: what is saved or pushed is what was pulled
 *     l/<20 digits>.json   its whole chain id, its size and its archive's digest, written before the layer appears
 *     tmp/                 whatever is not finished; emptied at start
 *
 * Everything is made in tmp/ and renamed into place, so what has its final name is complete even after SIGKILL.
 */
export class ContentStore {
  readonly #dir: string;
  readonly #unpacking = new SharedWork<StoredLayer>();
  /** How often each chain id or blob digest is pinned. */
  readonly #pins = new Map<string, number>();
  /** By chain id. */
  readonly #sizes = new Map<string, number>();
  /** Taking a pin and removing a layer exclude each other. */
  readonly #pinning = new Mutex();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Opens or creates the store at `dir`, an absolute path, and removes what an earlier process left unfinished. */
  static async open(dir: string): Promise<ContentStore> {
    // setuid programs and device nodes of images are in there: root only
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await rm(join(dir, 'tmp'), { recursive: true, force: true });
    for (const part of ['blobs/sha256', 'l', 'tmp'])
      await mkdir(join(dir, part), { recursive: true, mode: 0o700 });
    return new ContentStore(dir);
  }

  /** A path in tmp/ that nobody else has. The caller removes what it makes there. */
  temporaryPath(): string {
    return join(this.#dir, 'tmp', randomUUID());
  }

  /** Writes a file as a whole, or not at all. `name` is relative to the store. */
  async replaceFile(name: string, content: Buffer | string): Promise<void> {
    await replaceFile(join(this.#dir, name), content, { temporary: this.temporaryPath() });
  }

  /** A file's text, or undefined where there is none. `name` is relative to the store. */
  async readFile(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#dir, name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Stores a small blob and returns its digest. */
  async putBlob(bytes: Buffer): Promise<string> {
    const digest = sha256Of(bytes);
    await this.replaceFile(blobName(digest), bytes);
    return digest;
  }

  /** A blob, or undefined where it is missing or does not match its name any more. */
  async getBlob(digest: string): Promise<Buffer | undefined> {
    const bytes = await this.readFile(blobName(digest));
    return bytes !== undefined && sha256Of(bytes) === digest ? bytes : undefined;
  }

  layerPath(chainId: string): string {
    return join(this.#dir, 'l', shortIdOf(chainId));
  }

  /** The layer if it is complete on disk. */
  async findLayer(chainId: string): Promise<StoredLayer | undefined> {
    const note = await this.#readNote(chainId);
    if (note === undefined) return undefined;
    const path = this.layerPath(chainId);
    return (await isDirectory(path)) ? { chainId, path, sizeBytes: note.sizeBytes } : undefined;
  }

  /** Unpacked; 0 for a layer that is not here. */
  async layerSize(chainId: string): Promise<number> {
    const known = this.#sizes.get(chainId) ?? (await this.#readNote(chainId))?.sizeBytes;
    if (known !== undefined) this.#sizes.set(chainId, known);
    return known ?? 0;
  }

  /** The archive of a layer that is here. Throws ImageInvalidError where the store has none. */
  async layerArchive(chainId: string): Promise<LayerArchive> {
    const archive = (await this.#readNote(chainId))?.archive;
    if (archive === undefined)
      throw new ImageInvalidError(`the archive of layer ${chainId} is not kept here`);
    return { ...archive, path: join(this.#dir, archiveName(chainId)) };
  }

  async #readNote(chainId: string): Promise<z.infer<typeof layerNoteSchema> | undefined> {
    const text = await this.readFile(`${layerName(chainId)}.json`);
    if (text === undefined) return undefined;
    const note = layerNoteSchema.parse(JSON.parse(text.toString('utf8')));
    return note.chainId === chainId ? note : undefined;
  }

  /**
   * Makes sure that the layer is on disk; whoever asks for the same layer meanwhile shares the work. Rejects with
   * ImageInvalidError for an archive that is damaged, hostile, or not the one that the image names.
   */
  async ensureLayer(source: LayerSource, signal: AbortSignal): Promise<StoredLayer> {
    const present = await this.findLayer(source.chainId);
    if (present !== undefined) {
      source.observe?.('exists');
      return present;
    }
    const layer = await this.#unpacking.run(source.chainId, (own) => this.#makeLayer(source, own), signal);
    source.observe?.('pulled');
    return layer;
  }

  async #makeLayer(source: LayerSource, signal: AbortSignal): Promise<StoredLayer> {
    const { chainId, diffId, observe } = source;
    const present = await this.findLayer(chainId); // made since the caller looked
    if (present !== undefined) return present;
    const archive = this.temporaryPath();
    const directory = this.temporaryPath();
    try {
      await source.fetch(archive, signal);
      signal.throwIfAborted();
      observe?.('downloaded');
      await mkdir(directory, { mode: 0o755 });
      observe?.('extracting');
      const [{ sizeBytes }, described] = await allOf(
        unpackVerified(archive, directory, diffId),
        describeArchive(archive, source.digest),
      );
      await this.#clearPlace(chainId);
      await rename(archive, join(this.#dir, archiveName(chainId)));
      const note = { chainId, sizeBytes, archive: described };
      await this.replaceFile(`${layerName(chainId)}.json`, JSON.stringify(note));
      await this.#place(directory, chainId);
      return { chainId, path: this.layerPath(chainId), sizeBytes };
    } finally {
      await rm(archive, { force: true });
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** Work that its last caller gave up may still end, beside its successor: who comes second finds the layer there. */
  async #place(directory: string, chainId: string): Promise<void> {
    try {
      await rename(directory, this.layerPath(chainId));
    } catch (error) {
      if ((await this.findLayer(chainId)) === undefined) throw error;
    }
  }

  /** A removal that was cut short may have taken the note and left the directory. */
  async #clearPlace(chainId: string): Promise<void> {
    const note = await this.readFile(`${layerName(chainId)}.json`);
    if (note === undefined && (await isDirectory(this.layerPath(chainId))))
      await this.#discard(layerName(chainId));
  }

  /** Keeps layers (by chain id) and blobs (by digest) from removal, present or not yet, until the pin is disposed. */
  async pin(ids: readonly string[]): Promise<Disposable> {
    await this.#pinning.run(async () => {
      for (const id of ids) this.#pins.set(id, (this.#pins.get(id) ?? 0) + 1);
    });
    return {
      [Symbol.dispose]: () => {
        for (const id of ids) {
          const left = (this.#pins.get(id) ?? 1) - 1;
          if (left === 0) this.#pins.delete(id);
          else this.#pins.set(id, left);
        }
      },
    };
  }

  /** Removes layers and blobs that are neither listed nor pinned. A layer leaves its place by one rename. */
  async removeAllBut(chainIds: ReadonlySet<string>, digests: ReadonlySet<string>): Promise<void> {
    const keepLayers = new Set([...chainIds].map(shortIdOf));
    const isLayerKept = (name: string): boolean =>
      keepLayers.has(name) || [...this.#pins.keys()].some((pinned) => shortIdOf(pinned) === name);
    for (const name of await readdir(join(this.#dir, 'l'))) {
      await this.#discardUnless(() => isLayerKept(name.replace(/\.(json|layer)$/, '')), join('l', name));
    }
    for (const name of await readdir(join(this.#dir, 'blobs/sha256'))) {
      const digest = `sha256:${name}`;
      await this.#discardUnless(() => digests.has(digest) || this.#pins.has(digest), blobName(digest));
    }
  }

  /** Renaming is quick and done under the lock; deleting what was renamed is slow, and not. */
  async #discardUnless(isKept: () => boolean, name: string): Promise<void> {
    const trash = await this.#pinning.run(async () => (isKept() ? undefined : this.#moveAway(name)));
    if (trash !== undefined) await rm(trash, { recursive: true, force: true });
  }

  async #discard(name: string): Promise<void> {
    await rm(await this.#moveAway(name), { recursive: true, force: true });
  }

  async #moveAway(name: string): Promise<string> {
    const temporary = this.temporaryPath();
    await rename(join(this.#dir, name), temporary);
    return temporary;
  }
}

async function unpackVerified(archive: string, directory: string, diffId: string) {
  const unpacked = await unpackLayer(archive, directory).catch((cause: unknown) => {
    throw isArchiveFault(cause)
      ? new ImageInvalidError(`layer ${diffId} can not be unpacked`, { cause })
      : cause;
  });
  if (unpacked.diffId === diffId) return unpacked;
  throw new ImageInvalidError(`layer ${diffId} is damaged: it unpacks to ${unpacked.diffId}`);
}

/** Our own disk being full or broken is not the image's fault, and may pass. */
function isArchiveFault(error: unknown): boolean {
  return (
    error instanceof NativeError &&
    !['ENOSPC', 'EDQUOT', 'EIO', 'ENOMEM', 'EMFILE', 'ENFILE'].includes(error.code)
  );
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function shortIdOf(chainId: string): string {
  return hexOf(chainId).slice(0, SHORT_ID_LENGTH);
}

function layerName(chainId: string): string {
  return join('l', shortIdOf(chainId));
}

function archiveName(chainId: string): string {
  return `${layerName(chainId)}.layer`;
}

/** Both, also where one fails: what the other works on must not go away meanwhile. */
async function allOf<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

async function describeArchive(path: string, digest: string | undefined) {
  const { size } = await stat(path);
  const head: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: 3 })) head.push(chunk as Buffer);
  return {
    digest: digest ?? (await sha256OfStream(createReadStream(path))),
    sizeBytes: size,
    mediaType: layerTypeOf(Buffer.concat(head)),
  };
}

function blobName(digest: string): string {
  return join('blobs/sha256', hexOf(digest));
}
