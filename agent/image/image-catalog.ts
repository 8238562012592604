import { NotFoundError } from '../../shared/errors/index.ts';
import type { ImageInfo, ImageSummary } from '../../shared/model/node-methods/index.ts';
import { ContentStore } from './content-store.ts';
import { hexOf } from './digest.ts';
import { ImageInvalidError } from './errors.ts';
import { type ImageBlob, type ImageConfig, parseImageBlob } from './image-config.ts';
import { type IndexedImage, ImageIndex } from './image-index.ts';
import { familiarName, type ImageReference, nameOf, parseReference } from './reference.ts';

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

/** An image by what it was called: `ref` is absent where that was an id. */
export interface FoundImage {
  readonly id: string;
  readonly ref?: ImageReference;
}

/** What is on this machine: the store, the index over it, and what was read of both. */
export class ImageCatalog {
  readonly store: ContentStore;
  readonly index: ImageIndex;
  /** What was read once, by image id: starting a container waits for no disk. */
  readonly #blobs = new Map<string, ImageBlob>();
  /** Milliseconds since the epoch, by image id. */
  readonly #lastUsed = new Map<string, number>();
  /** Being removed: nobody finds them any more. */
  readonly #leaving = new Set<string>();
  /** How many callers are about to use each image, though nothing says so yet. */
  readonly #held = new Map<string, number>();

  private constructor(store: ContentStore, index: ImageIndex) {
    this.store = store;
    this.index = index;
  }

  static async open(dir: string): Promise<ImageCatalog> {
    const store = await ContentStore.open(dir);
    return new ImageCatalog(store, await ImageIndex.open(store));
  }

  /** By id (whole, or at least 12 digits of it), else by name. */
  find(reference: string): FoundImage | undefined {
    const digits = reference.replace(/^sha256:/, '');
    if (/^[a-f0-9]{12,64}$/.test(digits)) {
      const id = this.#withPrefix(digits)[0];
      if (id !== undefined) return { id };
    }
    if (/^(sha256:)?[a-f0-9]{64}$/.test(reference)) return undefined;
    const ref = parseReference(reference);
    const id = this.index.find(nameOf(ref));
    return id === undefined || this.#leaving.has(id) ? undefined : { id, ref };
  }

  #withPrefix(digits: string): string[] {
    return [...this.index.images.keys()].filter(
      (id) => hexOf(id).startsWith(digits) && !this.#leaving.has(id),
    );
  }

  /** The same; fewer digits do as well where only one image has them. Throws NotFoundError, as Docker words it. */
  get(reference: string): FoundImage {
    const found = this.find(reference);
    if (found !== undefined) return found;
    const [only, ...others] = /^[a-f0-9]+$/.test(reference) ? this.#withPrefix(reference) : [];
    if (only !== undefined && others.length === 0) return { id: only };
    throw new NotFoundError(`No such image: ${reference}`);
  }

  /** What running it takes. It counts as used for as long as the caller needs to say that it uses it. */
  async resolve(id: string): Promise<ResolvedImage> {
    const image = this.index.images.get(id);
    if (image === undefined || this.#leaving.has(id))
      throw new ImageInvalidError(`image ${id} was removed meanwhile`);
    this.touch(id);
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1);
    try {
      return await this.#describe(id, image);
    } finally {
      setImmediate(() => {
        const left = (this.#held.get(id) ?? 1) - 1;
        if (left === 0) this.#held.delete(id);
        else this.#held.set(id, left);
      });
    }
  }

  isHeld(id: string): boolean {
    return this.#held.has(id);
  }

  touch(id: string): void {
    this.#lastUsed.set(id, Date.now());
  }

  /** Milliseconds since the epoch; 0 when nobody asked for it since the start. */
  lastUsed(id: string): number {
    return this.#lastUsed.get(id) ?? 0;
  }

  /** One whose configuration is damaged is there too, without what it would say: so that it can be removed. */
  async list(): Promise<ImageSummary[]> {
    const images = [...this.index.images].filter(([id]) => !this.#leaving.has(id));
    return Promise.all(
      images.map(async ([id, image]) => {
        const blob = await this.#blob(id).catch((error: unknown) => {
          if (error instanceof ImageInvalidError) return undefined;
          throw error;
        });
        return this.#summary(id, image, blob);
      }),
    );
  }

  /** Throws NotFoundError. */
  async inspect(reference: string): Promise<ImageInfo> {
    const { id } = this.get(reference);
    const image = this.index.images.get(id);
    if (image === undefined) throw new NotFoundError(`No such image: ${reference}`);
    const blob = await this.#blob(id);
    const { config, diffIds, os, architecture, variant, author, comment, history } = blob;
    const summary = await this.#summary(id, image, blob);
    const sizes = summary.layers.map((layer) => layer.sizeBytes);
    return {
      ...summary,
      ...{ config, diffIds, os, architecture, variant, author, comment },
      history: history.map(({ isEmpty, ...step }) => ({
        ...step,
        sizeBytes: isEmpty ? 0 : (sizes.shift() ?? 0),
      })),
    };
  }

  /** As people write them, tags and digests. */
  namesOf(id: string): { repoTags: string[]; repoDigests: string[] } {
    const familiar = (name: string): string => familiarName(parseReference(name));
    return {
      repoTags: this.index.tagsOf(id).map(familiar),
      repoDigests: (this.index.images.get(id)?.repoDigests ?? []).map(familiar),
    };
  }

  /** The configuration as it came. Throws ImageInvalidError where it is damaged. */
  async configOf(id: string): Promise<Buffer> {
    const bytes = await this.store.getBlob(id);
    if (bytes === undefined)
      throw new ImageInvalidError(`the configuration of image ${id} is damaged or missing`);
    return bytes;
  }

  async createdAt(id: string): Promise<string> {
    return (await this.#blob(id)).createdAt ?? '';
  }

  async labelsOf(id: string): Promise<Readonly<Record<string, string>>> {
    return (await this.#blob(id)).config.labels;
  }

  /**
   * Removes images, and every layer that no other needs. From the call on nobody finds them. The caller has made sure that
   * nothing uses them.
   */
  async drop(ids: ReadonlySet<string>): Promise<void> {
    for (const id of ids) this.#leaving.add(id);
    try {
      if (ids.size > 0) await this.index.remove(ids);
    } finally {
      for (const id of ids) {
        this.#leaving.delete(id);
        this.#lastUsed.delete(id);
        this.#blobs.delete(id);
      }
    }
    const kept = [...this.index.images.values()].flatMap((image) => image.chainIds);
    await this.store.removeAllBut(new Set(kept), new Set(this.index.images.keys()));
  }

  async #summary(id: string, image: IndexedImage, blob: ImageBlob | undefined): Promise<ImageSummary> {
    const layers = image.chainIds.map(async (chainId) => ({
      chainId,
      sizeBytes: await this.store.layerSize(chainId),
    }));
    return {
      id,
      ...this.namesOf(id),
      labels: blob?.config.labels ?? {},
      sizeBytes: image.sizeBytes,
      createdAt: blob?.createdAt ?? '',
      layers: await Promise.all(layers),
    };
  }

  async #describe(id: string, image: IndexedImage): Promise<ResolvedImage> {
    const { config, createdAt } = await this.#blob(id);
    const digest = image.repoDigests[0]?.split('@')[1];
    return {
      id,
      ...(digest === undefined ? {} : { digest }),
      repoTags: this.namesOf(id).repoTags,
      layers: image.chainIds.map((chainId) => this.store.layerPath(chainId)).reverse(),
      config,
      sizeBytes: image.sizeBytes,
      createdAt: createdAt ?? '',
    };
  }

  async #blob(id: string): Promise<ImageBlob> {
    const known = this.#blobs.get(id);
    if (known !== undefined) return known;
    const blob = parseImageBlob(await this.configOf(id), id);
    this.#blobs.set(id, blob);
    return blob;
  }
}
