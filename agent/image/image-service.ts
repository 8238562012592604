import type { Readable } from 'node:stream';
import { rm } from 'node:fs/promises';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { ImageEvent } from '../../shared/model/node-methods/index.ts';
import type { LayerSource, StoredLayer } from './content-store.ts';
import { chainIdsOf } from './digest.ts';
import { ImageInvalidError } from './errors.ts';
import { type ArchivedImage, linkLayer, readImageArchive } from './image-archive.ts';
import { ImageCatalog, type ResolvedImage } from './image-catalog.ts';
import { parseImageBlob } from './image-config.ts';
import { parsePlatform } from './manifest.ts';
import { layerObserver, shortLayerId, throttled } from './image-progress.ts';
import {
  canonicalName,
  familiarName,
  familiarRepository,
  type ImageReference,
  nameOf,
  parseReference,
  repositoryName,
} from './reference.ts';
import type { RegistryAuth } from './registry-auth.ts';
import { RegistryClient, type RegistrySession } from './registry-client.ts';
import { SharedWork } from '../../shared/lib/shared-work.ts';

export interface ImageServiceOptions {
  /** Absolute; belongs to this service alone. */
  readonly dir: string;
  /** Hosts or IPv4 subnets that are asked without TLS; loopback always is. */
  readonly insecureRegistries?: readonly string[];
  readonly logger: Logger;
}

export type { ResolvedImage };

type LayerParts = Omit<LayerSource, 'chainId' | 'diffId'>;

const ignore = (): void => undefined;

/** Told of a pull or a load as it goes on; quick. */
export type ImageObserver = (event: ImageEvent) => void;

/** How long a registry may take to say what a tag means, if the image is here anyway. */
const FALLBACK_AFTER_MS = 10_000;
/** An image that was just asked for is about to be used, though nobody says so yet. */
const GC_GRACE_MS = 10 * 60_000;
const PARALLEL_LAYERS = 3;

/** The images of this machine: pulled from registries, imported from archives, unpacked and shared. */
export class ImageService {
  readonly catalog: ImageCatalog;
  readonly registries: RegistryClient;
  readonly #logger: Logger;
  readonly #ensuring = new SharedWork<string>();

  private constructor(catalog: ImageCatalog, options: ImageServiceOptions) {
    this.catalog = catalog;
    this.registries = new RegistryClient(options.insecureRegistries ?? []);
    this.#logger = options.logger;
  }

  /** Opens the store and sweeps what an earlier process left unfinished. */
  static async open(options: ImageServiceOptions): Promise<ImageService> {
    return new ImageService(await ImageCatalog.open(options.dir), options);
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
    const local = this.catalog.find(reference);
    const isFixed = local !== undefined && (local.ref?.digest !== undefined || !this.#isPulled(local));
    if (isFixed) return this.catalog.resolve(local.id);
    const ref = parseReference(reference);
    const key = JSON.stringify([canonicalName(ref), auth]);
    const id = await this.#ensuring.run(key, (own) => this.#pullOrUse(ref, auth, own), signal);
    return this.catalog.resolve(id);
  }

  /** Whether the image is here under a name that no registry gave: loaded, or tagged. */
  isLocal(reference: string): boolean {
    const local = this.catalog.find(reference);
    return local !== undefined && !this.#isPulled(local);
  }

  /** The image of this name, digest or id, if it is here; asks no registry. */
  async resolveLocal(reference: string): Promise<ResolvedImage | undefined> {
    const local = this.catalog.find(reference);
    return local === undefined ? undefined : this.catalog.resolve(local.id);
  }

  /**
   * Gets what the registry has under the name now, for `platform` (default: this machine's). Rejects as `ensure` does.
   */
  async pull(
    reference: string,
    options: { readonly auth?: RegistryAuth; readonly platform?: string },
    observe: ImageObserver,
    signal: AbortSignal,
  ): Promise<string> {
    const ref = parseReference(reference);
    const session = await this.registries.open(ref, options.auth, signal);
    return this.#pullFrom(session, ref, { observe, ...options }, signal);
  }

  /**
   * Imports the images of an archive, as `docker save` or an OCI layout has them: a path, or a stream, plain or gzip.
   * Rejects with ImageInvalidError.
   */
  async importTar(
    input: string | Readable,
    signal: AbortSignal,
    observe: ImageObserver = ignore,
  ): Promise<ResolvedImage[]> {
    const directory = this.catalog.store.temporaryPath();
    try {
      const resolved: ResolvedImage[] = [];
      for (const image of await readImageArchive(input, directory, signal)) {
        const id = await this.#importOne(image, observe, signal);
        resolved.push(await this.catalog.resolve(id));
      }
      return resolved;
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async #importOne(image: ArchivedImage, observe: ImageObserver, signal: AbortSignal): Promise<string> {
    const refs = image.tags.map(parseReference);
    const { diffIds } = parseImageBlob(image.config, image.tags[0] ?? 'the image');
    const layers = image.layerPaths.map((path, i) => ({
      fetch: linkLayer(path),
      observe: layerObserver(diffIds[i] ?? '', 'load', observe),
    }));
    const id = await this.#install(
      image.config,
      layers,
      { names: refs.map(canonicalName), repoDigests: [] },
      signal,
    );
    for (const ref of refs) observe({ kind: 'loaded', id, name: familiarName(ref) });
    if (refs.length === 0) observe({ kind: 'loaded', id });
    return id;
  }

  /**
   * Removes the images that are not in use and can be had again from a registry, and every layer that no image needs.
   * `inUse`: image ids. Images asked for within the last ten minutes stay. Returns the ids of what was removed.
   */
  async gc(inUse: ReadonlySet<string>, graceMs: number = GC_GRACE_MS): Promise<string[]> {
    const youngest = Date.now() - graceMs;
    const isUnused = (id: string): boolean => !inUse.has(id) && this.catalog.lastUsed(id) <= youngest;
    const unused = [...this.catalog.index.images]
      .filter(
        ([id, image]) =>
          isUnused(id) && (image.repoDigests.length > 0 || this.catalog.index.tagsOf(id).length === 0),
      )
      .map(([id]) => id);
    await this.catalog.drop(new Set(unused));
    return unused;
  }

  /** Whether the name was given by its registry, rather than by an import or an id. */
  #isPulled({ id, ref }: { id: string; ref?: ImageReference }): boolean {
    if (ref === undefined) return false;
    const prefix = `${repositoryName(ref)}@`;
    return this.catalog.index.images.get(id)?.repoDigests.some((name) => name.startsWith(prefix)) ?? false;
  }

  /** Pulls, and falls back to what is here under the name. */
  async #pullOrUse(
    ref: ImageReference,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const local = this.catalog.index.find(nameOf(ref));
    if (local === undefined) return this.#pull(ref, auth, signal);
    const limited = AbortSignal.any([signal, AbortSignal.timeout(FALLBACK_AFTER_MS)]);
    try {
      const session = await this.registries.open(ref, auth, limited);
      const digest = await session.headDigest(limited);
      if (digest !== undefined && this.catalog.index.find(`${repositoryName(ref)}@${digest}`) === local)
        return local;
      return await this.#pullFrom(session, ref, {}, signal);
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
    return this.#pullFrom(await this.registries.open(ref, auth, signal), ref, {}, signal);
  }

  async #pullFrom(
    session: RegistrySession,
    ref: ImageReference,
    { observe = ignore, platform }: { readonly observe?: ImageObserver; readonly platform?: string },
    signal: AbortSignal,
  ): Promise<string> {
    const remote = await session.resolve(signal, platform);
    const repository = familiarRepository(ref);
    observe({ kind: 'begin', repository, tag: ref.digest ?? ref.tag ?? 'latest' });
    for (const { digest } of remote.layers)
      observe({ kind: 'layer', id: shortLayerId(digest), step: 'pulling' });
    const config = await session.readBlob(remote.config, signal);
    checkPlatform(config, familiarName(ref), platform);
    const layers = remote.layers.map((layer): LayerParts => {
      const onBytes = throttled(layer, observe);
      return {
        digest: layer.digest,
        fetch: (path, own) => session.saveBlob(layer, path, own, onBytes),
        observe: layerObserver(layer.digest, 'pull', observe),
      };
    });
    const names = ref.digest === undefined ? [nameOf(ref)] : [];
    const repoDigest = `${repositoryName(ref)}@${remote.digest}`;
    const before = this.catalog.index.find(nameOf(ref));
    const id = await this.#install(config, layers, { names, repoDigests: [repoDigest] }, signal);
    const name = familiarName(ref);
    observe({ kind: 'pulled', name, digest: remote.digest, isNew: before !== id });
    this.#logger.info({ image: name, id, digest: remote.digest }, 'pulled image');
    return id;
  }

  /** Unpacks what is missing and enters the image into the index. Returns its id. */
  async #install(
    config: Buffer,
    parts: readonly LayerParts[],
    names: { readonly names: readonly string[]; readonly repoDigests: readonly string[] },
    signal: AbortSignal,
  ): Promise<string> {
    const { diffIds } = parseImageBlob(config, names.names[0] ?? names.repoDigests[0] ?? 'the image');
    if (diffIds.length !== parts.length) {
      throw new ImageInvalidError(
        `the image has ${parts.length} layers, its configuration names ${diffIds.length}`,
      );
    }
    const chainIds = chainIdsOf(diffIds);
    const id = await this.catalog.store.putBlob(config);
    using _pin = await this.catalog.store.pin([...chainIds, id]);
    const sources = parts.map((part, i) => ({
      ...part,
      chainId: chainIds[i] ?? '',
      diffId: diffIds[i] ?? '',
    }));
    const layers = await this.#ensureLayers(sources, signal);
    if ((await this.catalog.store.getBlob(id)) === undefined) await this.catalog.store.putBlob(config); // removed before it was pinned
    const sizeBytes = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    this.catalog.touch(id);
    await this.catalog.index.add(id, { chainIds, repoDigests: names.repoDigests, sizeBytes }, names.names);
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
        if (source !== undefined) layers[i] = await this.catalog.store.ensureLayer(source, own);
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
}

function assertAllDone(results: readonly PromiseSettledResult<void>[]): void {
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** A manifest that is alone says nothing of its platform, its configuration does. */
function checkPlatform(config: Buffer, name: string, platform: string | undefined): void {
  if (platform === undefined) return;
  const { architecture } = parseImageBlob(config, name);
  if (parsePlatform(platform).architecture !== architecture)
    throw new ImageInvalidError(`${name} is for linux/${architecture}, not for the platform ${platform}`);
}
