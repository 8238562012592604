/** GET /system/df: what images, containers and volumes of all nodes take up. */
import { Router, type Request } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { askNodes, nameMissing } from '../ask-nodes.ts';
import { encodeSummary } from '../codec/container-codec.ts';
import { encodeImageSummary } from '../codec/image-codec.ts';
import { encodeVolume } from '../codec/volume-codec.ts';
import { API_VERSION, type ApiContext } from '../context.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { imagesUsage } from '../ops/images.ts';
import { showVolumes } from '../ops/volumes.ts';
import { allContainers, factsOf } from './containers.ts';

export const zType = z.enum(['container', 'image', 'volume', 'build-cache']);
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
      wants('image') ? imagesUsage(ctx, signal) : undefined,
    ]);
    nameMissing(res, [...usage.missing, ...(images?.missing ?? [])]);
    const version = String(res.locals['apiVersion'] ?? API_VERSION);
    sendJson(res, 200, {
      ...(images === undefined
        ? {}
        : {
            LayersSize: images.layersBytes,
            Images: images.images.map((image) => encodeImageSummary(image, version)),
          }),
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
  const unknown = types.find((type) => !zType.safeParse(type).success);
  if (unknown !== undefined) throw new InvalidError(`unknown object type: ${unknown}`);
  return new Set(types);
}

async function readUsage(
  ctx: ApiContext,
  wanted: { readonly containers: boolean; readonly volumes: boolean },
  signal: AbortSignal,
) {
  const params = { ...wanted, limitMs: COUNT_MS };
  const [{ answers, refusals, missing }, listing] = await Promise.all([
    askNodes(ctx, 'storage.usage', params, signal, { timeoutMs: ANSWER_MS }),
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
    missing: [...missing, ...refusals.map(({ nodeId }) => nodeId), ...(listing?.missing ?? [])],
  };
}
