import { Router } from 'express';
import {
  containerLabels,
  encodeInspection,
  encodeSummary,
  type ContainerFacts,
  type PlacedContainer,
} from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { passes, passesLabels, queryFilters, queryFlag, queryText, type Filters } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { respondLogs } from '../logs/respond.ts';
import { lookup } from '../lookup.ts';
import { callNode, NODE_TIMEOUT_MS } from '../node-call.ts';
import { nodeMatcher } from './nodes.ts';
import { taskLogTarget, taskSpec } from './tasks.ts';

export const FILTERS = [
  'id',
  'name',
  'label',
  'status',
  'exited',
  'health',
  'ancestor',
  'network',
  'node',
  'is-task',
];

export function containersRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/containers/json', async (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const { containers, missing } = await allContainers(ctx, requestSignal(res, ctx.signal));
    const limit = Number(queryText(req, 'limit') ?? 0);
    const byStatus = (filters.get('status') ?? []).length > 0 || (filters.get('exited') ?? []).length > 0;
    const all = queryFlag(req, 'all') || limit > 0 || byStatus;
    const shown = containers
      .filter((container) => (all || isLive(container)) && matches(ctx, container, filters))
      .sort((a, b) => b.createdAtMs - a.createdAtMs);
    // A partial answer is better than none; the header says that it is one.
    if (missing.length > 0) res.setHeader('X-Shoal-Nodes-Missing', missing.join(','));
    const now = ctx.clock.now();
    sendJson(
      res,
      200,
      (limit > 0 ? shown.slice(0, limit) : shown).map((container) =>
        encodeSummary(container, factsOf(ctx, container), now),
      ),
    );
  });

  router.get('/containers/:id/json', async (req, res) => {
    const container = await findContainer(ctx, req.params.id, requestSignal(res, ctx.signal));
    sendJson(res, 200, encodeInspection(container, factsOf(ctx, container)));
  });

  router.get('/containers/:id/logs', async (req, res) => {
    const container = await findContainer(ctx, req.params.id, requestSignal(res, ctx.signal));
    await respondLogs(ctx, req, res, taskLogTarget(ctx.store, container.taskId, false));
  });
  return router;
}

function factsOf({ store }: ApiContext, container: PlacedContainer): ContainerFacts {
  const task = store.get('tasks', container.taskId);
  return {
    spec: task === undefined ? undefined : taskSpec(store, task),
    hostPorts: store.get('statuses', container.taskId)?.hostPorts ?? [],
    networkName: (id) => store.get('networks', id)?.spec.name ?? id,
  };
}

interface Listing {
  readonly containers: readonly PlacedContainer[];
  /** Nodes that are ready and did not answer in time. */
  readonly missing: readonly string[];
}

/** Asks all connected nodes at once; those that fail or are slow are left out and named. */
async function allContainers(ctx: ApiContext, signal: AbortSignal): Promise<Listing> {
  const containers: PlacedContainer[] = [];
  const missing: string[] = [];
  const ask = async (nodeId: string): Promise<void> => {
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(NODE_TIMEOUT_MS)]);
      const found = await ctx.gateway.call(nodeId, 'container.list', {}, limit);
      for (const container of found) containers.push({ ...container, nodeId });
    } catch (error) {
      signal.throwIfAborted();
      ctx.logger.warn({ nodeId, err: error }, 'a node did not list its containers');
      missing.push(nodeId);
    }
  };
  const nodes = [...ctx.store.all('nodes').values()];
  const silent = nodes.filter((node) => node.status !== 'down' && !ctx.gateway.connected(node.id));
  missing.push(...silent.map((node) => node.id));
  await Promise.all(nodes.filter((node) => ctx.gateway.connected(node.id)).map((node) => ask(node.id)));
  return { containers, missing };
}

/** By id, name or unique prefix. The store knows where most containers are; else all nodes are asked. */
export async function findContainer(
  ctx: ApiContext,
  ref: string,
  signal: AbortSignal,
): Promise<PlacedContainer> {
  const known = knownContainer(ctx, ref);
  if (known !== undefined) {
    const { nodeId, containerId } = known;
    return { ...(await callNode(ctx, nodeId, 'container.inspect', { containerId }, signal)), nodeId };
  }
  const { containers } = await allContainers(ctx, signal);
  return lookup(containers, ref.replace(/^\//, ''), {
    kind: 'No such container:',
    id: (container) => container.id,
    name: (container) => container.name,
  });
}

function knownContainer(ctx: ApiContext, ref: string): { nodeId: string; containerId: string } | undefined {
  if (!/^[0-9a-f]{64}$/.test(ref)) return undefined;
  for (const status of ctx.store.all('statuses').values()) {
    if (status.container?.containerId !== ref) continue;
    const nodeId = ctx.store.get('tasks', status.taskId)?.nodeId;
    return nodeId === undefined ? undefined : { nodeId, containerId: ref };
  }
  return undefined;
}

/** A paused container is one that runs. */
function isLive(container: PlacedContainer): boolean {
  return container.state === 'running' || container.state === 'paused';
}

function matches(ctx: ApiContext, container: PlacedContainer, filters: Filters): boolean {
  const onNode = nodeMatcher(ctx);
  return (
    passes(filters, 'id', (id) => container.id.startsWith(id)) &&
    passes(filters, 'name', (name) => container.name.includes(name.replace(/^\^?\/?|\$$/g, ''))) &&
    passes(filters, 'status', (status) => container.state === status) &&
    passes(
      filters,
      'exited',
      (code) => container.state === 'exited' && String(container.exitCode ?? 0) === code,
    ) &&
    passes(filters, 'health', (health) => (container.health ?? 'none') === health) &&
    passes(filters, 'ancestor', (image) => container.image === image || container.imageId.includes(image)) &&
    passes(filters, 'network', (name) => container.networks.some((n) => networkIs(ctx, n.network, name))) &&
    passes(filters, 'node', (node) => onNode(node, container.nodeId)) &&
    passes(filters, 'is-task', (on) => ['true', '1'].includes(on)) &&
    passesLabels(filters, 'label', containerLabels(container))
  );
}

function networkIs(ctx: ApiContext, network: string, ref: string): boolean {
  return network === ref || ctx.store.get('networks', network)?.spec.name === ref;
}
