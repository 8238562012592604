/** Single containers, as docker create, start, stop, restart, kill, wait, rename, update, rm and prune have them. */
import { Router, type Request, type Response } from 'express';
import { z } from 'zod';
import { ConflictError, InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { Revision } from '../../../shared/model/index.ts';
import { decodeContainer, decodeContainerRestart } from '../codec/container-create-codec.ts';
import { zResources, zRestartPolicy } from '../codec/container-create-schema.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { withExposed } from '../codec/container-network-codec.ts';
import type { ApiContext } from '../context.ts';
import { containerEvent } from '../events/container-event.ts';
import { readJson } from '../http/body.ts';
import { queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { callNode } from '../node-call.ts';
import { nodesWithImage } from '../ops/container-image.ts';
import { containerById, containerByName, type StoredContainer } from '../ops/container-reads.ts';
import { placeVolumes } from '../ops/container-volumes.ts';
import {
  killContainer,
  requireNode,
  startContainer,
  stopContainer,
  waitForExit,
  type WaitCondition,
} from '../ops/container-runs.ts';
import { createContainer, renameContainer, reviseContainer } from '../ops/containers.ts';
import { randomName } from '../ops/random-name.ts';
import { signalNumber, stopOptions, zCondition } from './container-actions.ts';
import { prune, remove } from './container-removal.ts';
import { findSingle } from './find-single.ts';

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
    requireNode(ctx, container);
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
  const { mounts, nodeIds } = await placeVolumes(ctx, decoded.spec.container.mounts, image.nodeIds, signal);
  const spec = {
    ...decoded.spec,
    container: { ...decoded.spec.container, mounts },
    placement: { ...decoded.spec.placement, ...platformOf(req) },
  };
  const exposed = decoded.publishAll ? [...decoded.exposed, ...image.exposedPorts] : [];
  const id = await createContainer(
    ctx,
    {
      name: asked || randomName(isTaken),
      spec: { ...spec, ports: withExposed(spec.ports, exposed) },
      autoRemove: decoded.autoRemove,
      asked: decoded.asked,
      nodes: nodeIds,
    },
    signal,
  );
  sendJson(res, 201, { Id: id, Warnings: decoded.warnings });
}

/** `platform=linux/amd64[/variant]`. */
function platformOf(req: Request): { platforms?: { os: string; arch: string }[] } {
  const [os = '', arch = ''] = (queryText(req, 'platform') ?? '').split('/');
  return os === '' ? {} : { platforms: [{ os, arch }] };
}

function serviceDecides(action: string, { id, serviceName }: PlacedContainer): ConflictError {
  return new ConflictError(
    `container ${id} belongs to service ${serviceName}, which decides over it: it can not be told to ${action} ` +
      `(update or scale the service)`,
  );
}

function eventOf(action: string, container: StoredContainer, more: Record<string, string> = {}) {
  const { id, service, revision, task } = container;
  const { image, labels } = revision.spec.container;
  const where = task?.nodeId === undefined ? {} : { nodeId: task.nodeId };
  return containerEvent(action, { id, image, labels, name: service.name, ...where }, more);
}

async function requireUnpaused(
  ctx: ApiContext,
  container: StoredContainer,
  action: string,
  signal: AbortSignal,
): Promise<void> {
  if (container.taskState !== 'running') return;
  const params = { containerId: container.id };
  const { state } = await callNode(ctx, requireNode(ctx, container), 'container.inspect', params, signal);
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

export const zUpdate = z.object({ ...zResources, RestartPolicy: zRestartPolicy });

/** The restart policy alone: limits of what runs are changed by nobody here. */
async function update(ctx: ApiContext, req: Request, res: Response): Promise<void> {
  const { RestartPolicy: policy, ...resources } = parseStrict(
    zUpdate,
    await readJson(req),
    'container update',
  );
  const signal = requestSignal(res, ctx.signal);
  const container = await findSingle(ctx, String(req.params['id']), signal);
  if (!('service' in container)) throw serviceDecides('update', container);
  const refused = Object.entries(resources).flatMap(([name, value]) => (value ? [name] : []));
  if (refused.length > 0)
    throw new UnsupportedError(
      `container update: not supported by Shoal: ${refused.join(', ')} (RestartPolicy can be changed)`,
    );
  if (policy?.Name) {
    const restart = decodeContainerRestart(policy);
    if (container.mode.autoRemove && restart.condition !== 'none')
      throw new ConflictError(
        'Restart policy cannot be updated because AutoRemove is enabled for the container',
      );
    const change = ({ spec, asked }: Revision): Pick<Revision, 'spec' | 'asked'> => ({
      spec: { ...spec, restart },
      asked: { config: asked?.config ?? {}, hostConfig: { ...asked?.hostConfig, RestartPolicy: policy } },
    });
    await reviseContainer(ctx, container.service.id, change, signal);
    ctx.events.emit(eventOf('update', container));
  }
  sendJson(res, 200, { Warnings: null });
}
