import { Router, type Request } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import { Mutex } from '../../../shared/lib/mutex.ts';
import { decodeVolume, encodeVolume, isAnonymous } from '../codec/volume-codec.ts';
import type { ApiContext } from '../context.ts';
import { volumeEvent } from '../events/event.ts';
import { compareVersions } from '../http/api-version.ts';
import { readJson } from '../http/body.ts';
import { passes, passesLabels, queryFilters, queryFlag, type Filters } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { callNode } from '../node-call.ts';
import { createVolume, findVolume, listVolumes, splitVolumeName, type PlacedVolume } from '../ops/volumes.ts';
import { nodeMatcher } from './nodes.ts';

export const FILTERS = ['dangling', 'driver', 'label', 'name', 'node'];
export const PRUNE_FILTERS = ['all', 'label', 'label!'];
/** Before it, pruning took named volumes too. */
const PRUNES_ANONYMOUS = '1.42';
/** Contents may be large. */
const REMOVE_TIMEOUT_MS = 120_000;

export function volumesRouter(ctx: ApiContext): Router {
  const router = Router();
  /** So that two that are asked for at once do not end up on two nodes. */
  const creating = new Mutex();

  router.get('/volumes', async (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const { volumes, missing } = await listVolumes(ctx, requestSignal(res, ctx.signal));
    const shown = volumes.filter((volume) => matches(ctx, volume, filters)).map(encodeVolume);
    const warnings = missing.map((node) => `node ${node} did not answer: its volumes are not listed`);
    sendJson(res, 200, { Volumes: shown, Warnings: warnings.length === 0 ? null : warnings });
  });

  router.post('/volumes/create', async (req, res) => {
    const wanted = decodeVolume(await readJson(req));
    const signal = requestSignal(res, ctx.signal);
    const volume = await creating.run(() => createVolume(ctx, wanted, signal));
    if (volume.created) emit(ctx, 'create', volume);
    sendJson(res, 201, encodeVolume(volume));
  });

  router.post('/volumes/prune', async (req, res) => {
    const filters = queryFilters(req, PRUNE_FILTERS);
    const signal = requestSignal(res, ctx.signal);
    const all = prunesAll(filters, String(res.locals['apiVersion'] ?? PRUNES_ANONYMOUS));
    const { volumes } = await listVolumes(ctx, signal);
    const unused = volumes.filter((one) => one.volume.usedBy.length === 0 && isPruned(one, all, filters));
    const deleted: string[] = [];
    let bytes = 0;
    for (const nodeId of new Set(unused.map((one) => one.nodeId))) {
      const here = unused.filter((one) => one.nodeId === nodeId);
      const names = here.map(({ volume }) => volume.name);
      const done = await callNode(ctx, nodeId, 'volume.prune', { names }, signal, REMOVE_TIMEOUT_MS);
      const gone = here.filter(({ volume }) => done.removed.includes(volume.name));
      for (const volume of gone) emit(ctx, 'destroy', volume);
      deleted.push(...gone.map(({ shownName }) => shownName));
      bytes += done.bytes;
    }
    ctx.events.emit(volumeEvent('prune', '', { reclaimed: String(bytes) }));
    sendJson(res, 200, { VolumesDeleted: deleted, SpaceReclaimed: bytes });
  });

  router.get('/volumes/*name', async (req, res) => {
    sendJson(res, 200, encodeVolume(await findVolume(ctx, nameOf(req), requestSignal(res, ctx.signal))));
  });

  router.put('/volumes/*name', async (req, res) => {
    await findVolume(ctx, nameOf(req), requestSignal(res, ctx.signal));
    throw new InvalidError('volume update only valid for cluster volumes, which Shoal does not have');
  });

  router.delete('/volumes/*name', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const force = queryFlag(req, 'force');
    try {
      const found = await findVolume(ctx, nameOf(req), signal);
      const { name } = splitVolumeName(found.shownName);
      await callNode(ctx, found.nodeId, 'volume.remove', { name, force }, signal, REMOVE_TIMEOUT_MS);
      emit(ctx, 'destroy', found);
    } catch (error) {
      if (!(force && isMissing(error))) throw error;
    }
    sendEmpty(res, 204);
  });
  return router;
}

function nameOf(req: Request): string {
  const name: unknown = req.params['name'];
  return Array.isArray(name) ? name.join('/') : String(name);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && error.name === 'NotFoundError';
}

function emit(ctx: ApiContext, action: string, { shownName, nodeName }: PlacedVolume): void {
  ctx.events.emit(volumeEvent(action, shownName, { 'com.docker.swarm.node.name': nodeName }));
}

function matches(ctx: ApiContext, { volume, nodeId }: PlacedVolume, filters: Filters): boolean {
  const onNode = nodeMatcher(ctx);
  return (
    passes(filters, 'dangling', (value) => isTrue(value, 'dangling') === (volume.usedBy.length === 0)) &&
    passes(filters, 'driver', (driver) => driver === 'local') &&
    passes(filters, 'name', (name) => volume.name.includes(name)) &&
    passes(filters, 'node', (node) => onNode(node, nodeId)) &&
    passesLabels(filters, 'label', volume.labels)
  );
}

function isTrue(value: string, filter: string): boolean {
  if (['1', 'true'].includes(value)) return true;
  if (['0', 'false'].includes(value)) return false;
  throw new InvalidError(`invalid filter '${filter}=${value}': true or false is expected`);
}

function prunesAll(filters: Filters, apiVersion: string): boolean {
  if (compareVersions(apiVersion, PRUNES_ANONYMOUS) < 0) return true;
  return (filters.get('all') ?? []).some((value) => isTrue(value, 'all'));
}

function isPruned({ volume }: PlacedVolume, all: boolean, filters: Filters): boolean {
  const unwanted = filters.get('label!') ?? [];
  return (
    (all || isAnonymous(volume)) &&
    passesLabels(filters, 'label', volume.labels) &&
    (unwanted.length === 0 || !passesLabels(filters, 'label!', volume.labels))
  );
}
