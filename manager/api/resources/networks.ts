import { Router, type Request } from 'express';
import { z } from 'zod';
import { ForbiddenError, InvalidError } from '../../../shared/errors/index.ts';
import { NODE_NETWORKS, nodeNetworkOf, type Labels, type Network } from '../../../shared/model/index.ts';
import { decodeNetworkSpec, encodeNetwork } from '../codec/network-codec.ts';
import { encodeNodeNetwork, type NetworkScope } from '../codec/node-network-codec.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { parseStrict } from '../http/unsupported.ts';
import { type Filters, passes, passesLabels, queryFilters, queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseTime } from '../logs/options.ts';
import { allowWarnings, updateNetworkLabels } from '../ops/allow-lists.ts';
import { containersOn, peersOf, servicesOn, usedNetworks } from '../ops/network-use.ts';
import { createNetwork, findNetwork, removeNetwork } from '../ops/networks.ts';
import { addConnect } from './network-connect.ts';

export const FILTERS = ['id', 'name', 'label', 'driver', 'scope', 'type', 'dangling'];
export const PRUNE_FILTERS = ['until', 'label', 'label!'];
/** All that can be changed of a network. */
export const zNetworkUpdate = z.object({ Labels: z.record(z.string(), z.string()) });
export const zScope = z.enum(['', 'swarm', 'local', 'global']);

/** What a list is filtered by. */
interface Listed {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Labels: Labels;
}

export function networksRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;

  router.get('/networks', (req, res) => {
    const filters = networkFilters(req);
    const used = usedNetworks(store);
    const all: Listed[] = [
      ...NODE_NETWORKS.map((name) => encodeNodeNetwork(name, clusterAge(ctx))),
      ...[...store.all('networks').values()].map((network) => encode(ctx, network)),
    ];
    sendJson(
      res,
      200,
      all.filter((network) => matches(network, filters, used)),
    );
  });

  router.post('/networks/create', async (req, res) => {
    const { spec, warnings } = decodeNetworkSpec(await readJson(req));
    const id = await createNetwork(ctx, spec, requestSignal(res, ctx.signal));
    sendJson(res, 201, { Id: id, Warning: [...warnings, ...allowWarnings(store, spec.labels)].join('; ') });
  });

  router.get('/networks/:id', (req, res) => {
    const scope = queryText(req, 'scope') ?? '';
    if (!zScope.safeParse(scope).success) throw new InvalidError(`invalid scope '${scope}'`);
    const own = nodeNetworkOf(req.params.id);
    if (own !== undefined) {
      const shown: NetworkScope = scope === 'swarm' ? 'swarm' : 'local';
      return sendJson(res, 200, encodeNodeNetwork(own, clusterAge(ctx), shown));
    }
    const network = findNetwork(store, req.params.id);
    sendJson(res, 200, {
      ...encode(ctx, network),
      Containers: containersOn(ctx, network.id),
      Peers: peersOf(ctx, network.id),
      ...(queryFlag(req, 'verbose') ? { Services: servicesOn(ctx, network.id) } : {}),
    });
  });

  router.post('/networks/:id/update', async (req, res) => {
    const { Labels } = parseStrict(zNetworkUpdate, await readJson(req), 'network update');
    if (nodeNetworkOf(req.params.id) !== undefined)
      throw new ForbiddenError(`${req.params.id} is a pre-defined network and has no labels`);
    await updateNetworkLabels(ctx, findNetwork(store, req.params.id), Labels, requestSignal(res, ctx.signal));
    sendJson(res, 200, { Warning: allowWarnings(store, Labels).join('; ') });
  });

  router.delete('/networks/:id', async (req, res) => {
    const own = nodeNetworkOf(req.params.id);
    if (own !== undefined) throw new ForbiddenError(`${own} is a pre-defined network and cannot be removed`);
    await removeNetwork(ctx, findNetwork(store, req.params.id), requestSignal(res, ctx.signal));
    sendEmpty(res, 204);
  });

  addPrune(router, ctx);
  addConnect(router, ctx);
  return router;
}

function addPrune(router: Router, ctx: ApiContext): void {
  router.post('/networks/prune', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const unused = unusedNetworks(ctx, queryFilters(req, PRUNE_FILTERS));
    const deleted: string[] = [];
    for (const network of unused) {
      try {
        await removeNetwork(ctx, network, signal);
        deleted.push(network.spec.name);
      } catch (error) {
        // A service took it meanwhile.
        if (!(error instanceof ForbiddenError)) throw error;
      }
    }
    sendJson(res, 200, { NetworksDeleted: deleted });
  });
}

function encode(ctx: ApiContext, network: Network): ReturnType<typeof encodeNetwork> {
  return encodeNetwork(network, ctx.store.version('networks', network.id));
}

function clusterAge(ctx: ApiContext): number {
  return ctx.store.get('cluster', 'self')?.createdAtMs ?? 0;
}

/** Throws InvalidError for values that Docker refuses, too. */
function networkFilters(req: Request): Filters {
  const filters = queryFilters(req, FILTERS);
  const allowed = { type: ['builtin', 'custom'], dangling: ['true', 'false', '1', '0'] } as const;
  for (const [name, values] of Object.entries(allowed)) {
    const bad = filters.get(name)?.find((value) => !(values as readonly string[]).includes(value));
    if (bad !== undefined) throw new InvalidError(`invalid filter '${name}=${bad}'`);
  }
  return filters;
}

function matches(network: Listed, filters: Filters, used: ReadonlySet<string>): boolean {
  const builtin = nodeNetworkOf(network.Id) !== undefined;
  // Of those that may be removed.
  const dangling = !builtin && network.Name !== 'ingress' && !used.has(network.Id);
  return (
    passes(filters, 'id', (id) => network.Id.startsWith(id)) &&
    // A part of the name is enough, as in Docker.
    passes(filters, 'name', (name) => network.Name.includes(name)) &&
    passes(filters, 'driver', (driver) => network.Driver === driver) &&
    passes(filters, 'scope', (scope) => network.Scope === scope) &&
    passes(filters, 'type', (type) => (type === 'builtin') === builtin) &&
    passes(filters, 'dangling', (on) => ['true', '1'].includes(on) === dangling) &&
    passesLabels(filters, 'label', network.Labels)
  );
}

/** Made before `until` (a time), with the labels, and on no service, be it one on its way out. */
function unusedNetworks({ store }: ApiContext, filters: Filters): Network[] {
  const until = filters.get('until') ?? [];
  if (until.length > 1) throw new InvalidError('more than one until filter specified');
  const untilMs = parseTime(until[0], 'until');
  const used = usedNetworks(store);
  return [...store.all('networks').values()].filter(
    ({ id, spec, createdAtMs }) =>
      !spec.ingress &&
      !used.has(id) &&
      (untilMs === undefined || createdAtMs < untilMs) &&
      passesLabels(filters, 'label', spec.labels) &&
      !(filters.get('label!') ?? []).some((label) =>
        passesLabels(new Map([['label', [label]]]), 'label', spec.labels),
      ),
  );
}
