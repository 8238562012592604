/** docker rm and docker container prune of single containers. */
import type { Request, Response } from 'express';
import { ConflictError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import { passesLabels, queryFilters, queryFlag } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { untilNodeReports } from '../returning-nodes.ts';
import { callNode } from '../node-call.ts';
import { removeServiceContainer } from '../ops/container-history.ts';
import {
  containerById,
  isLive,
  stateOf,
  type StoredContainer,
  storedContainers,
} from '../ops/container-reads.ts';
import { requireNode, untilRemoved } from '../ops/container-runs.ts';
import { removeContainer, wantContainer } from '../ops/containers.ts';
import { pruneUntil } from '../ops/prune-until.ts';
import { findSingle } from './find-single.ts';

export const PRUNE_FILTERS = ['until', 'label', 'label!'];

export async function remove(ctx: ApiContext, req: Request, res: Response): Promise<void> {
  const signal = requestSignal(res, ctx.signal);
  if (queryFlag(req, 'link'))
    throw new UnsupportedError('removing a container: not supported by Shoal: link');
  const found = await findSingle(ctx, String(req.params['id']), signal);
  if ('service' in found)
    await removeSingle(ctx, found, queryFlag(req, 'force'), queryFlag(req, 'v'), signal);
  else await removeServiceContainer(ctx, found, signal);
  sendEmpty(res, 204);
}

async function removeSingle(
  ctx: ApiContext,
  container: StoredContainer,
  force: boolean,
  volumes: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { service, id, task } = container;
  if (service.removing === true)
    throw new ConflictError(`removal of container ${service.name} is already in progress`);
  const state = stateOf(container);
  if (!force && (isLive(container) || state === 'restarting'))
    throw new ConflictError(
      `cannot remove container "/${service.name}": container is ${state === 'restarting' ? 'restarting' : 'running'}: ` +
        'stop the container before removing or force remove',
    );
  if (task?.nodeId !== undefined) await untilNodeReports(ctx, task.nodeId, signal);
  const reachable = task?.nodeId !== undefined && ctx.gateway.connected(task.nodeId);
  if (reachable && volumes)
    await callNode(ctx, task?.nodeId ?? '', 'container.discard-volumes', { containerId: id }, signal);
  if (reachable && container.taskState === 'running' && isLive(container))
    await killFirst(ctx, container, signal);
  await removeContainer(ctx, service.id, signal);
  await untilRemoved(ctx, container, signal);
}

/** At once: its stop signal and grace period are for those who stop it. */
async function killFirst(ctx: ApiContext, container: StoredContainer, signal: AbortSignal): Promise<void> {
  await wantContainer(ctx, container.service.id, (run) => ({ ...run, wanted: 'held' }), signal);
  try {
    const params = { containerId: container.id, signal: 'SIGKILL' };
    await callNode(ctx, await requireNode(ctx, container, signal), 'container.kill', params, signal);
  } catch (error) {
    // It has ended meanwhile.
    if (!(error instanceof ConflictError)) throw error;
  }
}

export async function prune(ctx: ApiContext, req: Request, res: Response): Promise<void> {
  const signal = requestSignal(res, ctx.signal);
  const filters = queryFilters(req, PRUNE_FILTERS);
  const before = pruneUntil(filters, ctx.clock.now());
  const victims = [...storedContainers(ctx.store)].filter((container) => {
    const { labels } = container.revision.spec.container;
    const unwanted = (filters.get('label!') ?? []).length > 0 && passesLabels(filters, 'label!', labels);
    return (
      !isLive(container) &&
      ['created', 'exited', 'dead'].includes(stateOf(container)) &&
      container.service.createdAtMs < before &&
      passesLabels(filters, 'label', labels) &&
      !unwanted
    );
  });
  const removed = await Promise.all(victims.map((victim) => pruneOne(ctx, victim, signal)));
  const deleted = removed.filter((one) => one !== undefined);
  const reclaimed = deleted.reduce((sum, { bytes }) => sum + bytes, 0);
  ctx.events.emit({
    Type: 'container',
    Action: 'prune',
    Actor: { ID: '', Attributes: { reclaimed: String(reclaimed) } },
    scope: 'local',
  });
  sendJson(res, 200, {
    ContainersDeleted: deleted.length === 0 ? null : deleted.map(({ id }) => id),
    SpaceReclaimed: reclaimed,
  });
}

/** Undefined when somebody started or removed it meanwhile. */
async function pruneOne(
  ctx: ApiContext,
  container: StoredContainer,
  signal: AbortSignal,
): Promise<{ id: string; bytes: number } | undefined> {
  const { id, task } = container;
  const nodeId = task?.nodeId ?? '';
  const size = ctx.gateway.connected(nodeId)
    ? await callNode(ctx, nodeId, 'container.size', { containerId: id }, signal).catch(() => undefined)
    : undefined;
  try {
    const current = containerById(ctx.store, id);
    if (current === undefined || isLive(current)) return undefined;
    await removeSingle(ctx, current, false, false, signal);
    return { id, bytes: size?.ownBytes ?? 0 };
  } catch (error) {
    if (error instanceof ConflictError) return undefined;
    throw error;
  }
}
