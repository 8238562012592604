/** Images that containers have mounted at a path of their own, beside the one that they are made of. */
import { NotFoundError } from '../../shared/errors/index.ts';
import type { TaskAssignment } from '../../shared/model/index.ts';
import type { ImageService, ResolvedImage } from '../image/image-service.ts';
import { parseRegistryAuth } from '../image/registry-auth.ts';

/** By the name that the mount has for it. */
export type ImagesByName = ReadonlyMap<string, ResolvedImage>;

/** What a container's record keeps of them: their ids by those names. */
export type MountedIds = Readonly<Record<string, string>>;

export class MountedImages {
  readonly #images: ImageService;
  readonly #held = new Map<string, ImagesByName>();

  constructor(images: ImageService) {
    this.#images = images;
  }

  /**
   * Fetches those that are not here. `known`: of a standalone container, which has those of its first start for ever and
   * for which nothing is fetched.
   */
  async prepare(task: TaskAssignment, known: MountedIds | undefined, signal: AbortSignal): Promise<void> {
    const names = task.spec.container.mounts.flatMap((mount) =>
      mount.kind === 'image' ? [mount.source] : [],
    );
    if (names.length === 0) return;
    const auth = parseRegistryAuth(task.spec.registryAuth);
    const isStandalone = task.spec.mode.kind === 'container';
    const resolve = async (name: string): Promise<ResolvedImage> => {
      if (!isStandalone) return this.#images.ensure(name, auth, signal);
      const image = await this.#images.resolveLocal(known?.[name] ?? name);
      if (image === undefined)
        throw new NotFoundError(`the image ${name}, which is mounted, is not on this node`);
      return image;
    };
    const found = new Map<string, ResolvedImage>();
    for (const name of new Set(names)) found.set(name, await resolve(name));
    this.#held.set(task.taskId, found);
  }

  /** Those that were prepared. */
  of(taskId: string): ImagesByName {
    return this.#held.get(taskId) ?? new Map();
  }

  /** For the container's record. */
  noteOf(taskId: string): { readonly mountedImages?: MountedIds } {
    const images = this.of(taskId);
    if (images.size === 0) return {};
    return { mountedImages: Object.fromEntries([...images].map(([name, { id }]) => [name, id])) };
  }

  forget(taskId: string): void {
    this.#held.delete(taskId);
  }

  /** Ids of those that tasks without a container wait for. */
  inUse(): string[] {
    return [...this.#held.values()].flatMap((images) => [...images.values()].map(({ id }) => id));
  }
}

/** A container's image, and those that it has mounted. */
export function imagesOf(record: {
  readonly imageId: string;
  readonly mountedImages?: MountedIds;
}): string[] {
  return [record.imageId, ...Object.values(record.mountedImages ?? {})];
}
