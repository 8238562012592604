import { Router } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { decodeNetworkSpec, encodeNetwork } from '../codec/network-codec.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { passes, passesLabels, queryFilters, queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { createNetwork, findNetwork, removeNetwork } from '../ops/networks.ts';
import { liveServices, specOf } from '../ops/service-reads.ts';

export const FILTERS = ['id', 'name', 'label', 'driver', 'scope', 'type', 'dangling'];
export const zScope = z.enum(['', 'swarm', 'local', 'global']);

export function networksRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;

  router.get('/networks', (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const used = usedNetworks(ctx);
    const networks = [...store.all('networks').values()].filter(
      (network) =>
        passes(filters, 'id', (id) => network.id.startsWith(id)) &&
        // A part of the name is enough, as in Docker.
        passes(filters, 'name', (name) => network.spec.name.includes(name)) &&
        passes(filters, 'driver', (driver) => driver === 'overlay') &&
        passes(filters, 'scope', (scope) => scope === 'swarm') &&
        passes(filters, 'type', (type) => type === (network.spec.ingress ? 'builtin' : 'custom')) &&
        passes(filters, 'dangling', (on) => ['true', '1'].includes(on) === !used.has(network.id)) &&
        passesLabels(filters, 'label', network.spec.labels),
    );
    sendJson(
      res,
      200,
      networks.map((network) => encodeNetwork(network, store.version('networks', network.id))),
    );
  });

  router.post('/networks/create', async (req, res) => {
    const { spec, warnings } = decodeNetworkSpec(await readJson(req));
    const id = await createNetwork(ctx, spec, requestSignal(res, ctx.signal));
    sendJson(res, 201, { Id: id, Warning: warnings.join('; ') });
  });

  router.get('/networks/:id', (req, res) => {
    const scope = queryText(req, 'scope') ?? '';
    if (!zScope.safeParse(scope).success) throw new InvalidError(`invalid scope '${scope}'`);
    const network = findNetwork(store, req.params.id);
    const encoded = encodeNetwork(network, store.version('networks', network.id));
    sendJson(
      res,
      200,
      queryFlag(req, 'verbose') ? { ...encoded, Services: servicesOn(ctx, network.id) } : encoded,
    );
  });

  router.delete('/networks/:id', async (req, res) => {
    await removeNetwork(ctx, findNetwork(store, req.params.id), requestSignal(res, ctx.signal));
    sendEmpty(res, 204);
  });
  return router;
}

function usedNetworks(ctx: ApiContext): Set<string> {
  const used = new Set<string>();
  for (const service of liveServices(ctx.store)) {
    for (const attachment of specOf(ctx.store, service)?.networks ?? []) used.add(attachment.network);
  }
  return used;
}

/** Services on the network and their tasks' addresses: `docker network inspect --verbose`. */
function servicesOn(ctx: ApiContext, networkId: string): Record<string, object> {
  const found: Record<string, object> = {};
  for (const service of liveServices(ctx.store)) {
    const vip = service.endpoint?.vips.find((v) => v.network === networkId)?.address ?? '';
    const tasks = [...ctx.store.tasksOfService(service.id)].flatMap((id) => {
      const task = ctx.store.get('tasks', id);
      const address = task?.addresses.find((a) => a.network === networkId)?.address;
      if (task === undefined || address === undefined || task.desired !== 'running') return [];
      const info = { 'Host IP': ctx.store.get('nodes', task.nodeId ?? '')?.description?.address ?? '' };
      return [
        { Name: `${service.name}.${task.slot}.${task.id}`, EndpointID: '', EndpointIP: address, Info: info },
      ];
    });
    if (vip !== '' || tasks.length > 0)
      found[service.name] = { VIP: vip, Ports: [], LocalLBIndex: 0, Tasks: tasks };
  }
  return found;
}
