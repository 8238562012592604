/**
 * Images of the whole cluster. A name or an id means that image on every node that has it; the query parameter `node`
 * narrows a request to one node. Names have slashes in them.
 */
import { Router } from 'express';
import type { Request, Response } from 'express';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { RemovedImage } from '../../../shared/model/node-methods/index.ts';
import { askNodes, nameMissing, queryNode } from '../ask-nodes.ts';
import {
  type ClusterImage,
  encodeHistory,
  encodeImageInspection,
  encodeImageSummary,
  encodeRemoved,
} from '../codec/image-codec.ts';
import { API_VERSION, type ApiContext } from '../context.ts';
import { draft, imageEvent } from '../events/event.ts';
import { goPattern } from '../go-pattern.ts';
import { type Filters, passesLabels, queryFilters, queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseTimeOrAge } from '../http/time.ts';
import { findImage, listImages, pruneImages, removeImage, withSharedSizes } from '../ops/images.ts';

export const LIST_FILTERS = ['before', 'dangling', 'label', 'reference', 'since', 'until'];
export const PRUNE_FILTERS = ['dangling', 'label', 'label!', 'until'];

export function imagesRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/images/json', async (req, res) => {
    const filters = queryFilters(req, LIST_FILTERS);
    const signal = requestSignal(res, ctx.signal);
    const { images, missing } = await listImages(ctx, queryNode(ctx, req), signal);
    nameMissing(res, missing);
    const measured = queryFlag(req, 'shared-size') ? withSharedSizes(images) : images;
    const shown = await filtered(ctx, measured, filters, signal);
    const newestFirst = shown.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
    sendJson(
      res,
      200,
      newestFirst.map((image) => encodeImageSummary(image, versionOf(res))),
    );
  });

  router.get('/images/search', () => {
    throw new UnsupportedError('searching registries: not supported by Shoal (GET /images/search)');
  });

  router.get('/images/*ref/json', async (req, res) => {
    const { info, missing } = await found(ctx, req, res);
    nameMissing(res, missing);
    sendJson(res, 200, encodeImageInspection(info, versionOf(res)));
  });

  router.get('/images/*ref/history', async (req, res) => {
    const { info, missing } = await found(ctx, req, res);
    nameMissing(res, missing);
    sendJson(res, 200, encodeHistory(info));
  });

  router.post('/images/*ref/tag', async (req, res) => {
    const repository = queryText(req, 'repo') ?? '';
    if (repository === '') throw new InvalidError('repo: the new name is missing');
    const tag = queryText(req, 'tag') ?? '';
    const target = tag === '' ? repository : `${repository}:${tag}`;
    const signal = requestSignal(res, ctx.signal);
    const { info, reference, nodeIds, missing } = await found(ctx, req, res);
    const done = await askNodes(ctx, 'image.tag', { reference, target }, signal, { nodes: nodeIds });
    const [refusal] = done.refusals;
    if (refusal !== undefined) throw refusal.error;
    nameMissing(res, [...missing, ...done.missing]);
    ctx.events.emit(imageEvent('tag', info.id, target));
    sendEmpty(res, 201);
  });
  serveRemoval(ctx, router);
  return router;
}

function serveRemoval(ctx: ApiContext, router: Router): void {
  router.post('/images/prune', async (req, res) => {
    const filters = queryFilters(req, PRUNE_FILTERS);
    const signal = requestSignal(res, ctx.signal);
    const pruned = await pruneImages(ctx, pruneParams(filters, ctx.clock.now()), queryNode(ctx, req), signal);
    nameMissing(res, pruned.missing);
    const ImagesDeleted = encodeRemoved(pruned.removed);
    tellRemoved(ctx, pruned.removed);
    ctx.events.emit(draft('image', 'prune', '', { reclaimed: String(pruned.reclaimedBytes) }));
    sendJson(res, 200, { ImagesDeleted, SpaceReclaimed: pruned.reclaimedBytes });
  });

  // `noprune` keeps untagged parents: images have none here.
  router.delete('/images/*ref', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const force = queryFlag(req, 'force');
    const done = await removeImage(ctx, refOf(req), force, queryNode(ctx, req), signal);
    nameMissing(res, done.missing);
    tellRemoved(ctx, done.removed);
    sendJson(res, 200, encodeRemoved(done.removed));
  });
}

/** One event for each name and for each image, however many nodes had it. */
function tellRemoved(ctx: ApiContext, removed: readonly RemovedImage[]): void {
  const untagged = new Set(removed.flatMap((one) => one.untagged));
  const deleted = new Set(removed.flatMap((one) => one.deleted));
  for (const name of untagged) ctx.events.emit(imageEvent('untag', name, name));
  for (const id of deleted) ctx.events.emit(imageEvent('delete', id, id));
}

/** The image name in the path: what `*ref` took, with its slashes. */
export function refOf(req: Request): string {
  const value: unknown = req.params['ref'];
  return Array.isArray(value) ? value.join('/') : String(value);
}

function found(ctx: ApiContext, req: Request, res: Response) {
  return findImage(ctx, refOf(req), queryNode(ctx, req), requestSignal(res, ctx.signal));
}

function versionOf(res: Response): string {
  return (res.locals['apiVersion'] as string | undefined) ?? API_VERSION;
}

async function filtered(
  ctx: ApiContext,
  images: readonly ClusterImage[],
  filters: Filters,
  signal: AbortSignal,
): Promise<ClusterImage[]> {
  const dangling = flagFilter(filters, 'dangling');
  const createdAt = async (name: string): Promise<number[]> =>
    Promise.all(
      (filters.get(name) ?? []).map(async (ref) =>
        Date.parse((await findImage(ctx, ref, undefined, signal)).info.createdAt),
      ),
    );
  const before = Math.min(Infinity, ...(await createdAt('before')), ...untilTimes(filters, ctx.clock.now()));
  const since = Math.max(-Infinity, ...(await createdAt('since')));
  return images
    .filter((image) => dangling === undefined || dangling === (image.repoTags.length === 0))
    .filter((image) => passesLabels(filters, 'label', image.labels))
    .filter(({ createdAt }) => {
      const created = Date.parse(createdAt) || 0;
      return created < before && created > since;
    })
    .flatMap((image) => withFittingNames(image, filters.get('reference') ?? []));
}

/** With the names that one of the patterns fits; none, no image. Patterns are those of Go's path.Match. */
function withFittingNames(image: ClusterImage, patterns: readonly string[]): ClusterImage[] {
  if (patterns.length === 0) return [image];
  const expressions = patterns.map(goPattern);
  const fits = (name: string): boolean => {
    const bare = name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
    return expressions.some((one) => one.test(name) || one.test(bare));
  };
  const repoTags = image.repoTags.filter(fits);
  const repoDigests = image.repoDigests.filter(fits);
  return repoTags.length + repoDigests.length === 0 ? [] : [{ ...image, repoTags, repoDigests }];
}

function flagFilter(filters: Filters, name: string): boolean | undefined {
  const [value] = filters.get(name) ?? [];
  if (value === undefined) return undefined;
  if (['true', '1', 'True', 'TRUE', 't', 'T'].includes(value)) return true;
  if (['false', '0', 'False', 'FALSE', 'f', 'F'].includes(value)) return false;
  throw new InvalidError(`invalid filter '${name}=[${value}]': true or false is expected`);
}

function untilTimes(filters: Filters, nowMs: number): number[] {
  return (filters.get('until') ?? []).map((text) => parseTimeOrAge(text, 'until', nowMs));
}

/** Docker's defaults: dangling images only. */
function pruneParams(filters: Filters, nowMs: number) {
  const until = untilTimes(filters, nowMs);
  if (until.length > 1) throw new InvalidError('more than one until filter specified');
  return {
    all: flagFilter(filters, 'dangling') === false,
    ...(until[0] === undefined ? {} : { createdBeforeMs: until[0] }),
    labels: filters.get('label') ?? [],
    withoutLabels: filters.get('label!') ?? [],
  };
}
