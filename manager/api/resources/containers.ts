import { Router } from 'express';
import {
  encodeInspection,
  encodeSummary,
  type ContainerFacts,
  type PlacedContainer,
} from '../codec/container-codec.ts';
import type { Store } from '../../store/store.ts';
import { INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import { address6, gateway6, prefix6Bits } from '../../../shared/lib/network-ipv6.ts';
import { prefixBits, subnetOf } from '../../../shared/lib/network-subnets.ts';
import type { ApiContext } from '../context.ts';
import { queryFilters, queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { respondLogs } from '../logs/respond.ts';
import { lookup } from '../lookup.ts';
import { containerById, containerByName } from '../ops/container-reads.ts';
import { inspectStored, singleLogTarget, withStored } from '../ops/container-views.ts';
import { askNodes, nameMissing } from '../ask-nodes.ts';
import { untilNodesReport } from '../returning-nodes.ts';
import { callNode } from '../node-call.ts';
import { asksForAll, CONTAINER_FILTERS, containerFilter } from './container-filters.ts';
import { taskLogTarget, taskSpec } from './tasks.ts';

export function containersRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/containers/json', async (req, res) => {
    const filters = queryFilters(req, CONTAINER_FILTERS);
    const signal = requestSignal(res, ctx.signal);
    const { containers, missing } = await allContainers(ctx, signal);
    const limit = Number(queryText(req, 'limit') ?? 0);
    const all = queryFlag(req, 'all') || limit > 0 || asksForAll(filters);
    const matches = containerFilter(ctx, filters, containers);
    const shown = containers
      .filter((container) => (all || isLive(container)) && matches(container))
      .sort((a, b) => b.createdAtMs - a.createdAtMs);
    nameMissing(res, missing);
    const now = ctx.clock.now();
    const page = limit > 0 ? shown.slice(0, limit) : shown;
    const sizes = queryFlag(req, 'size') ? await sizesOf(ctx, page, signal) : undefined;
    sendJson(
      res,
      200,
      page.map((container) => ({
        ...encodeSummary(container, factsOf(ctx, container), now),
        ...sizes?.get(container.id),
      })),
    );
  });

  router.get('/containers/:id/json', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const sizes = queryFlag(req, 'size') ? await sizesOf(ctx, [container], signal) : undefined;
    sendJson(res, 200, {
      ...encodeInspection(container, factsOf(ctx, container)),
      ...sizes?.get(container.id),
    });
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
    subnet: (id, address) => subnetAt(store, id, address),
    spec: task === undefined ? undefined : taskSpec(store, task),
    hostPorts: store.get('statuses', container.taskId)?.hostPorts ?? [],
    ipv6: answersIpv6(store, container.nodeId),
    networkName: (id) => store.get('networks', id)?.spec.name ?? id,
  };
}

/** Whether published ports lead on from IPv6 addresses that the node has: such as others could ask. */
function answersIpv6(store: Store, nodeId: string): boolean {
  const { ipv6, localSubnets = [] } = store.get('nodes', nodeId)?.description ?? {};
  return (
    ipv6 === true &&
    localSubnets.some((subnet) => subnet.includes(':')) &&
    store.get('networks', INGRESS_NETWORK_ID)?.allocation?.subnet6 !== undefined
  );
}

interface Sizes {
  readonly SizeRw: number;
  readonly SizeRootFs: number;
}

/** Of those whose nodes say. */
async function sizesOf(
  ctx: ApiContext,
  containers: readonly PlacedContainer[],
  signal: AbortSignal,
): Promise<Map<string, Sizes>> {
  const sizes = new Map<string, Sizes>();
  const ask = async ({ id, nodeId }: PlacedContainer): Promise<void> => {
    try {
      const { ownBytes, totalBytes } = await callNode(
        ctx,
        nodeId,
        'container.size',
        { containerId: id },
        signal,
      );
      sizes.set(id, { SizeRw: ownBytes, SizeRootFs: totalBytes });
    } catch (error) {
      signal.throwIfAborted();
      ctx.logger.debug({ containerId: id, err: error }, 'the size of a container is not known');
    }
  };
  await Promise.all(containers.map(ask));
  return sizes;
}

function subnetAt(store: Store, id: string, address: string): ReturnType<ContainerFacts['subnet']> {
  const allocation = store.get('networks', id)?.allocation;
  if (allocation === undefined) return undefined;
  const own = address6(allocation, address);
  const ipv6 =
    own === undefined
      ? {}
      : {
          IPv6Gateway: gateway6(allocation),
          GlobalIPv6Address: own,
          GlobalIPv6PrefixLen: prefix6Bits(allocation),
        };
  return { gateway: subnetOf(allocation, address).gateway, bits: prefixBits(allocation, address), ipv6 };
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
  await untilNodesReport(ctx, signal);
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

/** A paused container is one that runs; one that restarts is shown with them, as Docker has it. */
function isLive(container: PlacedContainer): boolean {
  return ['running', 'paused', 'restarting'].includes(container.state);
}
