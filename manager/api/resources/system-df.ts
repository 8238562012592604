/** GET /system/df: what images, containers and volumes of all nodes take up. */
import { Router, type Request } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { ImageSummary } from '../../../shared/model/node-methods/index.ts';
import { encodeSummary } from '../codec/container-codec.ts';
import { encodeVolume } from '../codec/volume-codec.ts';
import type { ApiContext } from '../context.ts';
import { askEveryNode } from '../every-node.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { showVolumes } from '../ops/volumes.ts';
import { allContainers, factsOf } from './containers.ts';

const TYPES = ['container', 'image', 'volume', 'build-cache'];
/** How long nodes may count; what they did not get to is -1. */
const COUNT_MS = 20_000;
const ANSWER_MS = COUNT_MS + 5_000;

export function systemDfRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/system/df', async (req, res) => {
    const types = typesOf(req);
    const signal = requestSignal(res, ctx.signal);
    const wants = (type: string): boolean => types.size === 0 || types.has(type);
    const [usage, images] = await Promise.all([
      wants('container') || wants('volume')
        ? readUsage(ctx, { containers: wants('container'), volumes: wants('volume') }, signal)
        : { containers: undefined, volumes: undefined, missing: [] },
      wants('image') ? readImages(ctx, signal) : undefined,
    ]);
    const missing = [...new Set([...usage.missing, ...(images?.missing ?? [])])];
    if (missing.length > 0) res.setHeader('X-Shoal-Nodes-Missing', missing.join(','));
    sendJson(res, 200, {
      ...(images === undefined ? {} : { LayersSize: images.layersBytes, Images: images.images }),
      ...(usage.containers === undefined ? {} : { Containers: usage.containers }),
      ...(usage.volumes === undefined ? {} : { Volumes: usage.volumes }),
      ...(wants('build-cache') ? { BuildCache: [], BuilderSize: 0 } : {}),
    });
  });
  return router;
}

function typesOf(req: Request): Set<string> {
  const given = req.query['type'];
  const types = (Array.isArray(given) ? given : given === undefined ? [] : [given]).map(String);
  const unknown = types.find((type) => !TYPES.includes(type));
  if (unknown !== undefined) throw new InvalidError(`unknown object type: ${unknown}`);
  return new Set(types);
}

async function readUsage(
  ctx: ApiContext,
  wanted: { readonly containers: boolean; readonly volumes: boolean },
  signal: AbortSignal,
) {
  const params = { ...wanted, limitMs: COUNT_MS };
  const [{ answers, missing }, listing] = await Promise.all([
    askEveryNode(ctx, 'storage.usage', params, signal, ANSWER_MS),
    wanted.containers ? allContainers(ctx, signal) : undefined,
  ]);
  const sizes = new Map(
    answers.flatMap(({ result }) => result.containers.map((one) => [one.containerId, one])),
  );
  const now = ctx.clock.now();
  const containers = listing?.containers.map((container) => {
    const size = sizes.get(container.id);
    const summary = encodeSummary(container, factsOf(ctx, container), now);
    return { ...summary, SizeRw: size?.ownBytes ?? -1, SizeRootFs: size?.totalBytes ?? -1 };
  });
  const found = answers.flatMap(({ nodeId, result }) =>
    result.volumes.map(({ volume, bytes }) => ({ nodeId, volume, bytes })),
  );
  const bytesOf = new Map(found.map(({ volume, bytes }) => [volume, bytes]));
  const volumes = showVolumes(ctx, found).map((one) => ({
    ...encodeVolume(one),
    UsageData: { Size: bytesOf.get(one.volume) ?? -1, RefCount: one.volume.usedBy.length },
  }));
  return {
    containers,
    volumes: wanted.volumes ? volumes : undefined,
    missing: [...missing, ...(listing?.missing ?? [])],
  };
}

interface HeldImage {
  readonly summary: ImageSummary;
  readonly tags: Set<string>;
  readonly digests: Set<string>;
}

/** An image that several nodes have is one; its layers take room on each. */
async function readImages(ctx: ApiContext, signal: AbortSignal) {
  const { answers, missing } = await askEveryNode(ctx, 'image.list', {}, signal);
  const images = new Map<string, HeldImage>();
  let layersBytes = 0;
  for (const { result } of answers) {
    const layers = new Map(
      result.flatMap((image) => image.layers.map((layer) => [layer.chainId, layer.sizeBytes])),
    );
    for (const bytes of layers.values()) layersBytes += bytes;
    for (const summary of result) {
      const held = images.get(summary.id) ?? { summary, tags: new Set(), digests: new Set() };
      for (const tag of summary.repoTags) held.tags.add(tag);
      for (const digest of summary.repoDigests) held.digests.add(digest);
      images.set(summary.id, held);
    }
  }
  const { containers } = await allContainers(ctx, signal);
  const users = (id: string): number => containers.filter(({ imageId }) => imageId === id).length;
  const shared = sharedLayers([...images.values()]);
  const encoded = [...images.values()].map(({ summary, tags, digests }) => ({
    Id: summary.id,
    ParentId: '',
    RepoTags: [...tags],
    RepoDigests: [...digests],
    Created: Math.floor((Date.parse(summary.createdAt) || 0) / 1000),
    Size: summary.sizeBytes,
    SharedSize: summary.layers.reduce(
      (sum, layer) => sum + (shared.has(layer.chainId) ? layer.sizeBytes : 0),
      0,
    ),
    Labels: summary.labels,
    Containers: users(summary.id),
  }));
  return { images: encoded, layersBytes, missing };
}

/** Chain ids of the layers that several images have. */
function sharedLayers(images: readonly HeldImage[]): Set<string> {
  const seen = new Set<string>();
  const shared = new Set<string>();
  for (const { summary } of images)
    for (const chainId of new Set(summary.layers.map((layer) => layer.chainId))) {
      if (seen.has(chainId)) shared.add(chainId);
      seen.add(chainId);
    }
  return shared;
}
