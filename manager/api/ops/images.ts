/** The images of all nodes as one set: an image is the same image wherever it is, by its id. */
import { ConflictError, InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import type {
  ContainerInfo,
  ImageInfo,
  ImageMethods,
  ImageSummary,
  RemovedImage,
} from '../../../shared/model/node-methods/index.ts';
import { askNodes } from '../ask-nodes.ts';
import type { ClusterImage } from '../codec/image-codec.ts';
import type { ApiContext } from '../context.ts';

/** Removing files takes as long as there are files. */
const REMOVAL_TIMEOUT_MS = 120_000;

export interface ImageListing {
  readonly images: readonly ClusterImage[];
  readonly missing: readonly string[];
}

/** Each image once. `nodes`: of these only. */
export async function listImages(
  ctx: ApiContext,
  nodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<ImageListing> {
  const [images, containers] = await Promise.all([
    askNodes(ctx, 'image.list', {}, signal, { nodes }),
    askNodes(ctx, 'container.list', {}, signal, { nodes }),
  ]);
  const used = countUses(containers.answers.flatMap(({ result }) => result));
  const merged = new Map<string, { summary: ImageSummary; nodeIds: string[] }>();
  for (const { nodeId, result } of images.answers) {
    for (const image of result) {
      const known = merged.get(image.id);
      const summary = known === undefined ? image : withNames(known.summary, image);
      merged.set(image.id, { summary, nodeIds: [...(known?.nodeIds ?? []), nodeId] });
    }
  }
  return {
    images: [...merged.values()].map(({ summary, nodeIds }) => ({
      ...summary,
      nodeIds,
      containers: used.get(summary.id) ?? 0,
    })),
    missing: images.missing,
  };
}

function countUses(containers: readonly ContainerInfo[]): Map<string, number> {
  const used = new Map<string, number>();
  for (const { imageId } of containers) used.set(imageId, (used.get(imageId) ?? 0) + 1);
  return used;
}

function withNames(one: ImageSummary, other: ImageSummary): ImageSummary {
  return {
    ...one,
    repoTags: [...new Set([...one.repoTags, ...other.repoTags])],
    repoDigests: [...new Set([...one.repoDigests, ...other.repoDigests])],
  };
}

/** With the size of what each shares with others. */
export function withSharedSizes(images: readonly ClusterImage[]): ClusterImage[] {
  const owners = new Map<string, number>();
  for (const { layers } of images) {
    for (const chainId of new Set(layers.map((layer) => layer.chainId)))
      owners.set(chainId, (owners.get(chainId) ?? 0) + 1);
  }
  return images.map((image) => {
    const shared = image.layers.filter(({ chainId }) => (owners.get(chainId) ?? 0) > 1);
    return { ...image, sharedBytes: shared.reduce((sum, layer) => sum + layer.sizeBytes, 0) };
  });
}

/** The images' part of GET /system/df: every image and every layer counts once, whatever number of nodes have it. */
export async function imagesUsage(
  ctx: ApiContext,
  signal: AbortSignal,
): Promise<{ images: readonly ClusterImage[]; layersBytes: number; missing: readonly string[] }> {
  const { images, missing } = await listImages(ctx, undefined, signal);
  const layers = new Map(images.flatMap((image) => image.layers).map((one) => [one.chainId, one.sizeBytes]));
  const layersBytes = [...layers.values()].reduce((sum, bytes) => sum + bytes, 0);
  return { images: withSharedSizes(images), layersBytes, missing };
}

export interface FoundImage {
  /** What to call it by on the nodes that have it. */
  readonly reference: string;
  readonly info: ImageInfo;
  readonly nodeIds: readonly string[];
  readonly missing: readonly string[];
}

/**
 * The image of that name or id, and who has it. Throws NotFoundError, as Docker words it, and InvalidError for digits
 * that begin the ids of several images. Where nodes have different images under one name, the first node's is described.
 */
export async function findImage(
  ctx: ApiContext,
  reference: string,
  nodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<FoundImage> {
  const { answers, refusals, missing } = await askNodes(ctx, 'image.inspect', { reference }, signal, {
    nodes,
  });
  const [first] = answers;
  if (first === undefined) {
    const other = refusals.find(({ error }) => !(error instanceof NotFoundError));
    throw other?.error ?? new NotFoundError(`No such image: ${reference}`);
  }
  const isId = answers.some(({ result }) => isCalledById(result, reference));
  if (isId && new Set(answers.map(({ result }) => result.id)).size > 1)
    throw new InvalidError(`image ${reference} is ambiguous: several images begin with these digits`);
  return {
    reference: isId ? first.result.id : reference,
    info: answers.map(({ result }) => result).reduce((one, other) => mergeInfo(one, other)),
    nodeIds: answers.map(({ nodeId }) => nodeId),
    missing,
  };
}

/** Names go first, also those that could be digits of an id. */
function isCalledById({ id, repoTags }: ImageInfo, reference: string): boolean {
  const digits = reference.replace(/^sha256:/, '');
  const isName = repoTags.includes(reference) || repoTags.includes(`${reference}:latest`);
  return !isName && id.slice('sha256:'.length).startsWith(digits);
}

function mergeInfo(one: ImageInfo, other: ImageInfo): ImageInfo {
  return one.id === other.id ? { ...one, ...withNames(one, other) } : one;
}

export interface RemovalResult {
  readonly removed: readonly RemovedImage[];
  readonly missing: readonly string[];
}

/** From all nodes that have it; from none while one of them refuses. Throws NotFoundError and ConflictError. */
export async function removeImage(
  ctx: ApiContext,
  name: string,
  force: boolean,
  nodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<RemovalResult> {
  const { reference, nodeIds, missing } = await findImage(ctx, name, nodes, signal);
  const params = { reference, force };
  const options = { nodes: nodeIds, timeoutMs: REMOVAL_TIMEOUT_MS };
  const checks = await askNodes(ctx, 'image.remove', { ...params, check: true }, signal, options);
  const refused = checks.refusals.find(({ error }) => error instanceof ConflictError);
  if (refused !== undefined) throw refused.error;
  const done = await askNodes(ctx, 'image.remove', { ...params, check: false }, signal, options);
  const [failure] = done.refusals.filter(({ error }) => !(error instanceof NotFoundError));
  if (failure !== undefined) throw failure.error;
  return {
    removed: done.answers.map(({ result }) => result),
    missing: [...missing, ...done.missing],
  };
}

/** On all nodes. */
export async function pruneImages(
  ctx: ApiContext,
  params: ImageMethods['image.prune']['params'],
  nodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<RemovalResult & { readonly reclaimedBytes: number }> {
  const options = { nodes, timeoutMs: REMOVAL_TIMEOUT_MS };
  const { answers, refusals, missing } = await askNodes(ctx, 'image.prune', params, signal, options);
  const [refusal] = refusals;
  if (refusal !== undefined) throw refusal.error;
  return {
    removed: answers.map(({ result }) => result),
    reclaimedBytes: answers.reduce((sum, { result }) => sum + result.reclaimedBytes, 0),
    missing,
  };
}
