import type { Readable } from 'node:stream';
import { rm } from 'node:fs/promises';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { ContentStore, type LayerSource, type StoredLayer } from './content-store.ts';
import { chainIdsOf, hexOf } from './digest.ts';
import { ImageInvalidError } from './errors.ts';
import { linkLayer, readImageArchive } from './image-archive.ts';
import { type ImageBlob, type ImageConfig, parseImageBlob } from './image-config.ts';
import { type IndexedImage, ImageIndex } from './image-index.ts';
import {
  canonicalName,
  familiarName,
  type ImageReference,
  parseReference,
  repositoryName,
} from './reference.ts';
import type { RegistryAuth } from './registry-auth.ts';
import { RegistryClient, type RegistrySession } from './registry-client.ts';
import { SharedWork } from './shared-work.ts';

export interface ImageServiceOptions {
  /** Absolute; belongs to this service alone. */
  readonly dir: string;
  /** Hosts or IPv4 subnets that are asked without TLS; loopback always is. */
  readonly insecureRegistries?: readonly string[];
  readonly logger: Logger;
}

/** An image that is on this machine, ready to run. */
export interface ResolvedImage {
  /** `sha256:...`, the digest of its configuration. */
  readonly id: string;
  /** `sha256:...`, the digest by which its registry knows it. */
  readonly digest?: string;
  /** As people write them, e.g. `nginx:1.25`. */
  readonly repoTags: readonly string[];
  /** Absolute directories, topmost first, as overlayfs wants its lowerdirs. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
  readonly sizeBytes: number;
  /** RFC 3339; '' if the image does not say. */
  readonly createdAt: string;
}

export interface ImageSummary {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  readonly createdAt: string;
}

/** How long a registry may take to say what a tag means, if the image is here anyway. */
const FALLBACK_AFTER_MS = 10_000;
/** An image that was just asked for is about to be used, though nobody says so yet. */
const GC_GRACE_MS = 10 * 60_000;
const PARALLEL_LAYERS = 3;

/** The images of this machine: pulled from registries, imported from archives, unpacked and shared. */
export class ImageService {
  readonly #store: ContentStore;
  readonly #index: ImageIndex;
  readonly #client: RegistryClient;
  readonly #logger: Logger;
  readonly #ensuring = new SharedWork<string>();
  /** What was read once, by image id: starting a container waits for no disk. */
  readonly #blobs = new Map<string, ImageBlob>();
  /** Milliseconds since the epoch, by image id. */
  readonly #lastUsed = new Map<string, number>();

  private constructor(store: ContentStore, index: ImageIndex, options: ImageServiceOptions) {
    this.#store = store;
    this.#index = index;
    this.#client = new RegistryClient(options.insecureRegistries ?? []);
    this.#logger = options.logger;
  }

  /** Opens the store and sweeps what an earlier process left unfinished. */
  static async open(options: ImageServiceOptions): Promise<ImageService> {
    const store = await ContentStore.open(options.dir);
    return new ImageService(store, await ImageIndex.open(store), options);
  }

  /**
   * Makes sure that the image is here. A digest or an id that is here is used as it is, and so is a tag that was
   * imported; any other tag is asked of its registry each time, as Swarm does, and what is here is used where the
   * registry gives nothing. Callers that ask for the same image share one pull. Rejects with ImageNotFoundError or
   * ImageInvalidError (permanent), RegistryUnavailableError (temporary), InvalidError (malformed reference).
   */
  async ensure(
    reference: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<ResolvedImage> {
    const local = this.#findLocal(reference);
    const isFixed = local !== undefined && (local.ref?.digest !== undefined || !this.#isPulled(local));
    if (isFixed) return this.#resolved(local.id);
    const ref = parseReference(reference);
    const key = JSON.stringify([canonicalName(ref), auth]);
    const id = await this.#ensuring.run(key, (own) => this.#pullOrUse(ref, auth, own), signal);
    return this.#resolved(id);
  }

  /** The image of this name, digest or id, if it is here; asks no registry. */
  async resolveLocal(reference: string): Promise<ResolvedImage | undefined> {
    const local = this.#findLocal(reference);
    return local === undefined ? undefined : this.#resolved(local.id);
  }

  /**
   * Imports the images of an archive, as `docker save` or an OCI layout has them: a path, or a stream, plain or gzip.
   * Rejects with ImageInvalidError.
   */
  async importTar(input: string | Readable, signal: AbortSignal): Promise<ResolvedImage[]> {
    const directory = this.#store.temporaryPath();
    try {
      const archived = await readImageArchive(input, directory, signal);
      const resolved: ResolvedImage[] = [];
      for (const { config, tags, layerPaths } of archived) {
        const names = tags.map((tag) => canonicalName(parseReference(tag)));
        const id = await this.#install(config, layerPaths.map(linkLayer), { names, repoDigests: [] }, signal);
        resolved.push(await this.#resolved(id));
      }
      return resolved;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async list(): Promise<ImageSummary[]> {
    const summaries = [...this.#index.images].map(async ([id, image]) => {
      const { repoTags, config, sizeBytes, createdAt } = await this.#describe(id, image);
      const repoDigests = image.repoDigests.map((name) => familiarName(parseReference(name)));
      return { id, repoTags, repoDigests, labels: config.labels, sizeBytes, createdAt };
    });
    return Promise.all(summaries);
  }

  /**
   * Removes the images that are not in use and can be had again from a registry, and every layer that no image needs.
   * `inUse`: image ids. Images asked for within the last ten minutes stay. Returns the ids of what was removed.
   */
  async gc(inUse: ReadonlySet<string>, graceMs: number = GC_GRACE_MS): Promise<string[]> {
    const youngest = Date.now() - graceMs;
    const isUnused = (id: string): boolean => !inUse.has(id) && (this.#lastUsed.get(id) ?? 0) <= youngest;
    const unused = [...this.#index.images]
      .filter(
        ([id, image]) =>
          isUnused(id) && (image.repoDigests.length > 0 || this.#index.tagsOf(id).length === 0),
      )
      .map(([id]) => id);
    if (unused.length > 0) await this.#index.remove(new Set(unused));
    for (const id of unused) {
      this.#lastUsed.delete(id);
      this.#blobs.delete(id);
    }
    const kept = [...this.#index.images.values()].flatMap((image) => image.chainIds);
    await this.#store.removeAllBut(new Set(kept), new Set(this.#index.images.keys()));
    return unused;
  }

  /** By id (whole, or at least 12 digits of it), else by name. */
  #findLocal(reference: string): { id: string; ref?: ImageReference } | undefined {
    const digits = reference.replace(/^sha256:/, '');
    if (/^[a-f0-9]{12,64}$/.test(digits)) {
      const id = [...this.#index.images.keys()].find((key) => hexOf(key).startsWith(digits));
      if (id !== undefined) return { id };
    }
    if (/^(sha256:)?[a-f0-9]{64}$/.test(reference)) return undefined;
    const ref = parseReference(reference);
    const id = this.#index.find(nameOf(ref));
    return id === undefined ? undefined : { id, ref };
  }

  /** Whether the name was given by its registry, rather than by an import or an id. */
  #isPulled({ id, ref }: { id: string; ref?: ImageReference }): boolean {
    if (ref === undefined) return false;
    const prefix = `${repositoryName(ref)}@`;
    return this.#index.images.get(id)?.repoDigests.some((name) => name.startsWith(prefix)) ?? false;
  }

  /** Pulls, and falls back to what is here under the name. */
  async #pullOrUse(
    ref: ImageReference,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const local = this.#index.find(nameOf(ref));
    if (local === undefined) return this.#pull(ref, auth, signal);
    const limited = AbortSignal.any([signal, AbortSignal.timeout(FALLBACK_AFTER_MS)]);
    try {
      const session = await this.#client.open(ref, auth, limited);
      const digest = await session.headDigest(limited);
      if (digest !== undefined && this.#index.find(`${repositoryName(ref)}@${digest}`) === local)
        return local;
      return await this.#pullFrom(session, ref, signal);
    } catch (error) {
      signal.throwIfAborted();
      const image = familiarName(ref);
      this.#logger.warn(
        { image, error: describeError(error) },
        'the registry gives nothing, using the image that is here',
      );
      return local;
    }
  }

  async #pull(ref: ImageReference, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<string> {
    return this.#pullFrom(await this.#client.open(ref, auth, signal), ref, signal);
  }

  async #pullFrom(session: RegistrySession, ref: ImageReference, signal: AbortSignal): Promise<string> {
    const remote = await session.resolve(signal);
    const config = await session.readBlob(remote.config, signal);
    const fetches = remote.layers.map(
      (layer): LayerSource['fetch'] =>
        (path, own) =>
          session.saveBlob(layer, path, own),
    );
    const names = ref.digest === undefined ? [nameOf(ref)] : [];
    const repoDigests = [`${repositoryName(ref)}@${remote.digest}`];
    const id = await this.#install(config, fetches, { names, repoDigests }, signal);
    this.#logger.info({ image: familiarName(ref), id, digest: remote.digest }, 'pulled image');
    return id;
  }

  /** Unpacks what is missing and enters the image into the index. Returns its id. */
  async #install(
    config: Buffer,
    fetches: readonly LayerSource['fetch'][],
    names: { readonly names: readonly string[]; readonly repoDigests: readonly string[] },
    signal: AbortSignal,
  ): Promise<string> {
    const { diffIds } = parseImageBlob(config, names.names[0] ?? names.repoDigests[0] ?? 'the image');
    if (diffIds.length !== fetches.length) {
      throw new ImageInvalidError(
        `the image has ${fetches.length} layers, its configuration names ${diffIds.length}`,
      );
    }
    const chainIds = chainIdsOf(diffIds);
    const id = await this.#store.putBlob(config);
    using _pin = await this.#store.pin([...chainIds, id]);
    const sources = fetches.map((fetch, i) => ({
      fetch,
      chainId: chainIds[i] ?? '',
      diffId: diffIds[i] ?? '',
    }));
    const layers = await this.#ensureLayers(sources, signal);
    if ((await this.#store.getBlob(id)) === undefined) await this.#store.putBlob(config); // removed before it was pinned
    const sizeBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    this.#lastUsed.set(id, Date.now());
    await this.#index.add(id, { chainIds, repoDigests: names.repoDigests, sizeBytes }, names.names);
    return id;
  }

  /** A few at a time. The first failure ends the others, and is the one that is thrown. */
  async #ensureLayers(sources: readonly LayerSource[], signal: AbortSignal): Promise<StoredLayer[]> {
    const failed = new AbortController();
    const own = AbortSignal.any([signal, failed.signal]);
    const layers: StoredLayer[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let i = next++; i < sources.length; i = next++) {
        const source = sources[i];
        if (source !== undefined) layers[i] = await this.#store.ensureLayer(source, own);
      }
    };
    const workers = Array.from({ length: PARALLEL_LAYERS }, () =>
      work().catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
    const results = await Promise.allSettled(workers);
    signal.throwIfAborted();
    if (failed.signal.aborted) throw failed.signal.reason;
    assertAllDone(results);
    return layers;
  }

  async #resolved(id: string): Promise<ResolvedImage> {
    const image = this.#index.images.get(id);
    if (image === undefined) throw new ImageInvalidError(`image ${id} was removed meanwhile`);
    this.#lastUsed.set(id, Date.now());
    return this.#describe(id, image);
  }

  async #describe(id: string, image: IndexedImage): Promise<ResolvedImage> {
    const { config, createdAt } = this.#blobs.get(id) ?? (await this.#readBlob(id));
    const digest = image.repoDigests[0]?.split('@')[1];
    return {
      id,
      ...(digest === undefined ? {} : { digest }),
      repoTags: this.#index.tagsOf(id).map((name) => familiarName(parseReference(name))),
      layers: image.chainIds.map((chainId) => this.#store.layerPath(chainId)).reverse(),
      config,
      sizeBytes: image.sizeBytes,
      createdAt: createdAt ?? '',
    };
  }

  async #readBlob(id: string): Promise<ImageBlob> {
    const bytes = await this.#store.getBlob(id);
    if (bytes === undefined)
      throw new ImageInvalidError(`the configuration of image ${id} is damaged or missing`);
    const blob = parseImageBlob(bytes, id);
    this.#blobs.set(id, blob);
    return blob;
  }
}

function assertAllDone(results: readonly PromiseSettledResult<void>[]): void {
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** The name to look for: a digest says it all, and the tag beside it is only for people. */
function nameOf(ref: ImageReference): string {
  return ref.digest === undefined ? canonicalName(ref) : `${repositoryName(ref)}@${ref.digest}`;
}
