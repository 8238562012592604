/** Taking names off images and removing what is left: refusals and answers as Docker has them. */
import { ConflictError } from '../../shared/errors/index.ts';
import type { ImageMethods, RemovedImage } from '../../shared/model/node-methods/index.ts';
import { hexOf } from './digest.ts';
import type { ImageCatalog } from './image-catalog.ts';
import { familiarName, nameOf, parseReference, repositoryName } from './reference.ts';

/** What needs an image: a container, or a task that has none yet. */
export type ImageUser =
  | { readonly kind: 'container'; readonly id: string; readonly running: boolean }
  | { readonly kind: 'task' };

/** Undefined for an image that may go. */
export type UserOf = (imageId: string) => ImageUser | undefined;

/** What a removal is going to do. */
interface Removal {
  readonly id: string;
  /** Canonical names that it loses. */
  readonly names: readonly string[];
  readonly whole: boolean;
}

/** Throws NotFoundError, and ConflictError while it is in use or has other names. */
export async function removeImage(
  catalog: ImageCatalog,
  userOf: UserOf,
  { reference, force, check }: ImageMethods['image.remove']['params'],
): Promise<RemovedImage> {
  const user = (id: string): ImageUser | undefined => (catalog.isHeld(id) ? { kind: 'task' } : userOf(id));
  const { id, names, whole } = plan(catalog, user, reference, force);
  if (check) return { untagged: [], deleted: [] };
  const untagged = names.map((name) => familiarName(parseReference(name)));
  if (!whole) {
    await catalog.index.removeNames(id, new Set(names));
    return { untagged, deleted: [] };
  }
  const { deleted } = await dropAll(catalog, [id]);
  return { untagged, deleted };
}

function plan(catalog: ImageCatalog, userOf: UserOf, reference: string, force: boolean): Removal {
  const { id, ref } = catalog.get(reference);
  const all = [...catalog.index.tagsOf(id), ...(catalog.index.images.get(id)?.repoDigests ?? [])];
  const user = userOf(id);
  if (ref === undefined) {
    refuseById(id, all, user, force);
    return { id, names: all, whole: true };
  }
  const names = namesToDrop(all, nameOf(ref));
  const isLast = names.length === all.length;
  if (isLast && user !== undefined && !force) {
    throw new ConflictError(
      `conflict: unable to remove repository reference "${reference}" (must force) - ` +
        `${describeUser(user)} is using its referenced image ${hexOf(id).slice(0, 12)}`,
    );
  }
  return { id, names, whole: isLast && user === undefined };
}

/** The name; and when it was the last tag in its repository, the digests there, which nobody calls it by. */
function namesToDrop(all: readonly string[], name: string): string[] {
  const repository = repositoryName(parseReference(name));
  const here = all.filter((one) => repositoryName(parseReference(one)) === repository);
  const rest = here.filter((one) => one !== name);
  return rest.some((one) => !one.includes('@')) ? [name] : [name, ...rest];
}

function refuseById(id: string, names: readonly string[], user: ImageUser | undefined, force: boolean): void {
  const short = hexOf(id).slice(0, 12);
  if (user !== undefined) {
    const state = user.kind === 'task' ? '' : user.running ? 'running ' : 'stopped ';
    throw new ConflictError(
      `conflict: unable to delete ${short} (cannot be forced) - image is being used by ${state}${describeUser(user)}`,
    );
  }
  const tags = names.filter((name) => !name.includes('@'));
  const repositories = new Set(names.map((name) => repositoryName(parseReference(name))));
  if (!force && (tags.length > 1 || repositories.size > 1)) {
    throw new ConflictError(
      `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    );
  }
}

function describeUser(user: ImageUser): string {
  return user.kind === 'task' ? 'a task' : `container ${user.id.slice(0, 12)}`;
}

/** Removes what nothing uses and what fits; `all`: also what has a tag. */
export async function pruneImages(
  catalog: ImageCatalog,
  userOf: UserOf,
  params: ImageMethods['image.prune']['params'],
): Promise<ImageMethods['image.prune']['result']> {
  const fitting: string[] = [];
  for (const id of catalog.index.images.keys()) if (await fits(catalog, id, params)) fitting.push(id);
  // Without a pause between this look and the removal: what is taken into use meanwhile would go.
  const gone = fitting.filter(
    (id) =>
      catalog.index.images.has(id) &&
      !catalog.isHeld(id) &&
      userOf(id) === undefined &&
      isOpen(catalog, id, params),
  );
  const untagged = gone.flatMap((id) => {
    const { repoTags, repoDigests } = catalog.namesOf(id);
    return [...repoTags, ...repoDigests];
  });
  const { deleted, reclaimedBytes } = await dropAll(catalog, gone);
  return { untagged, deleted, reclaimedBytes };
}

function isOpen(catalog: ImageCatalog, id: string, params: ImageMethods['image.prune']['params']): boolean {
  return params.all || catalog.index.tagsOf(id).length === 0;
}

async function fits(
  catalog: ImageCatalog,
  id: string,
  params: ImageMethods['image.prune']['params'],
): Promise<boolean> {
  const { createdBeforeMs, labels, withoutLabels } = params;
  if (!isOpen(catalog, id, params)) return false;
  if (createdBeforeMs !== undefined) {
    const created = Date.parse(await catalog.createdAt(id));
    if (!(created < createdBeforeMs)) return false;
  }
  if (labels.length + withoutLabels.length === 0) return true;
  const own = await catalog.labelsOf(id);
  return labels.every((one) => hasLabel(own, one)) && !withoutLabels.some((one) => hasLabel(own, one));
}

/** `wanted` is key or key=value. */
function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const key = at < 0 ? wanted : wanted.slice(0, at);
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1));
}

async function dropAll(
  catalog: ImageCatalog,
  ids: readonly string[],
): Promise<{ deleted: string[]; reclaimedBytes: number }> {
  const gone = new Set(ids);
  const { images } = catalog.index;
  const kept = new Set([...images].filter(([id]) => !gone.has(id)).flatMap(([, image]) => image.chainIds));
  const own = ids.flatMap((id) => images.get(id)?.chainIds ?? []);
  const layers = [...new Set(own)].filter((chainId) => !kept.has(chainId));
  // Begun at once: from now on nobody finds them.
  const dropping = catalog.drop(gone);
  const sizes = layers.map((chainId) => catalog.store.layerSize(chainId));
  const [total] = await Promise.all([Promise.all(sizes), dropping]);
  return {
    // The topmost first, as Docker lists them.
    deleted: [...ids, ...layers.toReversed()],
    reclaimedBytes: total.reduce((sum, size) => sum + size, 0),
  };
}
