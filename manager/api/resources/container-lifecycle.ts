/** Single containers, as docker create, start, stop, restart, kill, wait, rename, update, rm and prune have them. */
import { Router, type Request, type Response } from 'express';
import { ConflictError, InvalidError } from '../../../shared/errors/index.ts';
import { decodeContainer } from '../codec/container-create-codec.ts';
import { withExposed } from '../codec/container-network-codec.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { callNode } from '../node-call.ts';
import { addressWarnings } from '../ops/absent-addresses.ts';
import { nodesWithImage, withMountedImages } from '../ops/container-image.ts';
import { containerById, containerByName, type StoredContainer } from '../ops/container-reads.ts';
import { placeWithPeers } from '../ops/container-peers.ts';
import { placeVolumes } from '../ops/container-volumes.ts';
import {
  killContainer,
  requireNode,
  startContainer,
  stopContainer,
  waitForExit,
  type WaitCondition,
} from '../ops/container-runs.ts';
import { createContainer, renameContainer } from '../ops/containers.ts';
import { type Lender, lendMounts } from '../ops/volumes-from.ts';
import { randomName } from '../ops/random-name.ts';
import { signalNumber, stopOptions, zCondition } from './container-actions.ts';
import { prune, remove } from './container-removal.ts';
import { update } from './container-update.ts';
import { findContainer } from './containers.ts';
import { findSingle } from './find-single.ts';
import { eventOf, serviceDecides } from './single-container.ts';

export function containerLifecycleRouter(ctx: ApiContext): Router {
  const router = Router();
  router.post('/containers/create', (req, res) => create(ctx, req, res));
  router.post('/containers/prune', (req, res) => prune(ctx, req, res));
  router.post('/containers/:id/update', (req, res) => update(ctx, req, res));
  router.delete('/containers/:id', (req, res) => remove(ctx, req, res));

  /** What a service's container is refused, or has a way of its own for (`next`). */
  const single = (
    action: 'start' | 'restart' | 'rename' | 'stop' | 'kill' | 'wait',
    act: (container: StoredContainer, req: Request, res: Response, signal: AbortSignal) => Promise<void>,
    others: 'refused' | 'next' = 'refused',
  ): void => {
    router.post(`/containers/:id/${action}`, async (req, res, next) => {
      const signal = requestSignal(res, ctx.signal);
      const found = await findSingle(ctx, req.params.id, signal);
      if ('service' in found) return act(found, req, res, signal);
      if (others === 'next') return next();
      throw serviceDecides(action, found);
    });
  };

  single('start', async (container, _req, res, signal) => {
    await requireUnpaused(ctx, container, 'start', signal);
    sendEmpty(res, (await startContainer(ctx, container, signal)) ? 204 : 304);
  });
  single('restart', async (container, req, res, signal) => {
    await requireNode(ctx, container, signal);
    await stopContainer(ctx, container, stopOptions(req), signal);
    await startContainer(ctx, containerById(ctx.store, container.id) ?? container, signal);
    ctx.events.emit(eventOf('restart', container));
    sendEmpty(res, 204);
  });
  single('rename', async (container, req, res, signal) => {
    const name = (queryText(req, 'name') ?? '').replace(/^\//, '');
    if (name === '') throw new InvalidError('Neither old nor new names may be empty');
    if (name === container.service.name)
      throw new InvalidError('Renaming a container with the same name as its current name');
    await renameContainer(ctx, container.service.id, name, signal);
    ctx.events.emit(eventOf('rename', container, { oldName: `/${container.service.name}` }));
    sendEmpty(res, 204);
  });
  single(
    'stop',
    async (container, req, res, signal) => {
      const stopped = await stopContainer(ctx, container, stopOptions(req), signal);
      if (stopped) ctx.events.emit(eventOf('stop', container));
      sendEmpty(res, stopped ? 204 : 304);
    },
    'next',
  );
  single(
    'kill',
    async (container, req, res, signal) => {
      const name = queryText(req, 'signal') || 'SIGKILL';
      const number = signalNumber(name);
      await killContainer(ctx, container, name, number, signal);
      ctx.events.emit(eventOf('kill', container, { signal: number }));
      sendEmpty(res, 204);
    },
    'next',
  );
  single('wait', (container, req, res, signal) => wait(ctx, container, req, res, signal), 'next');
  return router;
}

async function create(ctx: ApiContext, req: Request, res: Response): Promise<void> {
  const decoded = decodeContainer(await readJson(req));
  const signal = requestSignal(res, ctx.signal);
  const asked = (queryText(req, 'name') ?? '').replace(/^\//, '');
  const isTaken = (tried: string): boolean => containerByName(ctx.store, tried) !== undefined;
  const image = await nodesWithImage(ctx, decoded.spec.container.image, signal);
  const own = decoded.spec.container.mounts;
  const withImages = await withMountedImages(ctx, own, image.nodeIds, signal);
  const lent = await lendMounts(decoded.volumesFrom, own, withImages, (ref) => findLender(ctx, ref, signal));
  const { mounts, nodeIds } = await placeVolumes(ctx, lent.mounts, lent.nodeIds, signal);
  const withPeers = await placeWithPeers(decoded, nodeIds, (ref) => findContainer(ctx, ref, signal));
  const spec = {
    ...withPeers.spec,
    container: { ...withPeers.spec.container, mounts },
    placement: { ...decoded.spec.placement, ...platformOf(req) },
  };
  const exposed = decoded.publishAll ? [...decoded.exposed, ...image.exposedPorts] : [];
  const id = await createContainer(
    ctx,
    {
      name: asked || randomName(isTaken),
      spec: { ...spec, ports: withExposed(spec.ports, exposed) },
      autoRemove: decoded.autoRemove,
      asked: withPeers.asked,
      nodes: withPeers.nodeIds,
    },
    signal,
  );
  sendJson(res, 201, { Id: id, Warnings: [...decoded.warnings, ...addressWarnings(ctx.store, spec.ports)] });
}

async function findLender(ctx: ApiContext, ref: string, signal: AbortSignal): Promise<Lender> {
  const { id, nodeId, details } = await findContainer(ctx, ref, signal);
  const stored = containerById(ctx.store, id);
  if (stored === undefined)
    throw new InvalidError(
      `HostConfig.VolumesFrom: ${ref} is a service's: its volumes are shared by their names`,
    );
  return { nodeId, asked: stored.revision.spec.container.mounts, points: details?.mounts };
}

/** `platform=linux/amd64[/variant]`. */
function platformOf(req: Request): { platforms?: { os: string; arch: string }[] } {
  const [os = '', arch = ''] = (queryText(req, 'platform') ?? '').split('/');
  return os === '' ? {} : { platforms: [{ os, arch }] };
}

async function requireUnpaused(
  ctx: ApiContext,
  container: StoredContainer,
  action: string,
  signal: AbortSignal,
): Promise<void> {
  if (container.taskState !== 'running') return;
  const params = { containerId: container.id };
  const { state } = await callNode(
    ctx,
    await requireNode(ctx, container, signal),
    'container.inspect',
    params,
    signal,
  );
  if (state === 'paused') throw new ConflictError(`cannot ${action} a paused container, try unpause instead`);
}

async function wait(
  ctx: ApiContext,
  container: StoredContainer,
  req: Request,
  res: Response,
  signal: AbortSignal,
): Promise<void> {
  const asked = queryText(req, 'condition') || 'not-running';
  const condition = zCondition.safeParse(asked);
  if (!condition.success) throw new InvalidError(`invalid condition: "${asked}"`);
  const exited = waitForExit(ctx, container, condition.data satisfies WaitCondition, signal);
  // Clients take the head for the word that the wait has begun.
  res.setHeader('Content-Type', 'application/json');
  res.flushHeaders();
  res.end(`${JSON.stringify({ StatusCode: await exited })}\n`);
}
