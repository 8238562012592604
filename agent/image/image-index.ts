import { z } from 'zod';
import { Mutex } from '../../shared/lib/mutex.ts';
import type { ContentStore } from './content-store.ts';

/** What the store knows of one image besides its configuration. */
export interface IndexedImage {
  /** Lowest first. */
  readonly chainIds: readonly string[];
  /** `docker.io/library/nginx@sha256:...`: the names by which registries gave it. */
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
}

const indexSchema = z.object({
  images: z.record(
    z.string(),
    z.object({ chainIds: z.array(z.string()), repoDigests: z.array(z.string()), sizeBytes: z.number() }),
  ),
  /** Canonical name with a tag -> image id. */
  tags: z.record(z.string(), z.string()),
});

const FILE = 'images.json';

/** Which images are in the store and what they are called: one JSON file, replaced as a whole on every change. */
export class ImageIndex {
  readonly #store: ContentStore;
  readonly #writing = new Mutex();
  #images: ReadonlyMap<string, IndexedImage>;
  #tags: ReadonlyMap<string, string>;

  private constructor(store: ContentStore, images: Map<string, IndexedImage>, tags: Map<string, string>) {
    this.#store = store;
    this.#images = images;
    this.#tags = tags;
  }

  static async open(store: ContentStore): Promise<ImageIndex> {
    const bytes = await store.readFile(FILE);
    const index =
      bytes === undefined ? { images: {}, tags: {} } : indexSchema.parse(JSON.parse(bytes.toString('utf8')));
    return new ImageIndex(store, new Map(Object.entries(index.images)), new Map(Object.entries(index.tags)));
  }

  get images(): ReadonlyMap<string, IndexedImage> {
    return this.#images;
  }

  /** The id of the image that has the canonical name, a tag or a digest. */
  find(canonicalName: string): string | undefined {
    const tagged = this.#tags.get(canonicalName);
    if (tagged !== undefined) return tagged;
    for (const [id, image] of this.#images) if (image.repoDigests.includes(canonicalName)) return id;
    return undefined;
  }

  /** The canonical names with a tag that an image has. */
  tagsOf(id: string): string[] {
    return [...this.#tags].filter(([, tagged]) => tagged === id).map(([name]) => name);
  }

  /** Adds an image, or names to one that is there. A tag moves from the image that had it. */
  add(id: string, image: IndexedImage, tags: readonly string[]): Promise<void> {
    return this.#change((images, names) => {
      const known = images.get(id);
      const repoDigests = new Set([...(known?.repoDigests ?? []), ...image.repoDigests]);
      images.set(id, { ...image, repoDigests: [...repoDigests] });
      for (const tag of tags) names.set(tag, id);
    });
  }

  /** Gives an image that is there another name. A tag moves from the image that had it. */
  addTag(id: string, tag: string): Promise<void> {
    return this.#change((images, names) => {
      if (images.has(id)) names.set(tag, id);
    });
  }

  /** A name with a digest by which a registry knows the image now. */
  addDigest(id: string, repoDigest: string): Promise<void> {
    return this.#change((images) => {
      const image = images.get(id);
      if (image === undefined) return;
      images.set(id, { ...image, repoDigests: [...new Set([...image.repoDigests, repoDigest])] });
    });
  }

  /** Takes names off, tags and digests. The image stays. */
  removeNames(id: string, canonicalNames: ReadonlySet<string>): Promise<void> {
    return this.#change((images, names) => {
      for (const name of canonicalNames) if (names.get(name) === id) names.delete(name);
      const image = images.get(id);
      if (image === undefined) return;
      images.set(id, {
        ...image,
        repoDigests: image.repoDigests.filter((name) => !canonicalNames.has(name)),
      });
    });
  }

  remove(ids: ReadonlySet<string>): Promise<void> {
    return this.#change((images, names) => {
      for (const id of ids) images.delete(id);
      for (const [name, id] of names) if (ids.has(id)) names.delete(name);
    });
  }

  #change(edit: (images: Map<string, IndexedImage>, tags: Map<string, string>) => void): Promise<void> {
    return this.#writing.run(async () => {
      const images = new Map(this.#images);
      const tags = new Map(this.#tags);
      edit(images, tags);
      const text = JSON.stringify({ images: Object.fromEntries(images), tags: Object.fromEntries(tags) });
      await this.#store.replaceFile(FILE, text);
      this.#images = images;
      this.#tags = tags;
    });
  }
}
