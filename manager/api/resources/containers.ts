import { Router } from 'express';
import {
  containerLabels,
  encodeInspection,
  encodeSummary,
  type ContainerFacts,
  type PlacedContainer,
} from '../codec/container-codec.ts';
import type { Store } from '../../store/store.ts';
import { parseCidr } from '../../../shared/lib/cidr.ts';
import type { ApiContext } from '../context.ts';
import { passes, passesLabels, queryFilters, queryFlag, queryText, type Filters } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { respondLogs } from '../logs/respond.ts';
import { lookup } from '../lookup.ts';
import { containerById, containerByName } from '../ops/container-reads.ts';
import { inspectStored, singleLogTarget, withStored } from '../ops/container-views.ts';
import { askNodes, nameMissing } from '../ask-nodes.ts';
import { callNode } from '../node-call.ts';
import { nodeMatcher } from './nodes.ts';
import { taskLogTarget, taskSpec } from './tasks.ts';

const FILTERS = [
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
    nameMissing(res, missing);
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
    const { stored } = container;
    const target =
      stored === undefined ? taskLogTarget(ctx.store, container.taskId, false) : singleLogTarget(stored);
    await respondLogs(ctx, req, res, target);
  });
  return router;
}

export function factsOf({ store }: ApiContext, container: PlacedContainer): ContainerFacts {
  const task = store.get('tasks', container.taskId);
  return {
    subnet: (id) => subnetOf(store, id),
    spec: task === undefined ? undefined : taskSpec(store, task),
    hostPorts: store.get('statuses', container.taskId)?.hostPorts ?? [],
    networkName: (id) => store.get('networks', id)?.spec.name ?? id,
  };
}

function subnetOf(store: Store, id: string): { gateway: string; bits: number } | undefined {
  const allocation = store.get('networks', id)?.allocation;
  if (allocation === undefined) return undefined;
  return { gateway: allocation.gateway, bits: parseCidr(allocation.subnet).bits };
}

interface Listing {
  readonly containers: readonly PlacedContainer[];
  /** Nodes that are ready and did not answer in time. */
  readonly missing: readonly string[];
}

/** Asks all connected nodes at once; those that fail or are slow are left out and named. */
export async function allContainers(ctx: ApiContext, signal: AbortSignal): Promise<Listing> {
  const { answers, refusals, missing } = await askNodes(ctx, 'container.list', {}, signal);
  const containers = answers.flatMap(({ nodeId, result }) => result.map((found) => ({ ...found, nodeId })));
  const all = withStored(ctx.store, containers);
  return { containers: all, missing: [...missing, ...refusals.map(({ nodeId }) => nodeId)] };
}

/** By id, name or unique prefix. The store knows where most containers are; else all nodes are asked. */
export async function findContainer(
  ctx: ApiContext,
  ref: string,
  signal: AbortSignal,
): Promise<PlacedContainer> {
  const stored = containerById(ctx.store, ref) ?? containerByName(ctx.store, ref);
  if (stored !== undefined) return inspectStored(ctx, stored, signal);
  const known = knownContainer(ctx, ref);
  if (known !== undefined) {
    const { nodeId, containerId } = known;
    const found = await callNode(ctx, nodeId, 'container.inspect', { containerId }, signal);
    return { ...found, nodeId };
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
