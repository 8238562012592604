/** docker network connect and disconnect. */
import type { Request, Router } from 'express';
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { nodeNetworkId, nodeNetworkOf } from '../../../shared/model/index.ts';
import { driverName } from '../codec/network-driver.ts';
import { zFlag } from '../codec/common.ts';
import { REFUSED, zEndpoint } from '../codec/container-create-schema.ts';
import { decodeEndpoint } from '../codec/container-network-codec.ts';
import type { ApiContext } from '../context.ts';
import { draft } from '../events/event.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendEmpty } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import type { StoredContainer } from '../ops/container-reads.ts';
import { connectContainer, disconnectContainer } from '../ops/container-networks.ts';
import { findNetwork } from '../ops/networks.ts';
import { findSingle } from './find-single.ts';

const Container = z.string({ error: 'the name or id of a container is missing' });
export const zConnect = z.object({ Container, EndpointConfig: zEndpoint });
export const zDisconnect = z.object({ Container, Force: zFlag });

export function addConnect(router: Router, ctx: ApiContext): void {
  router.post('/networks/:id/connect', async (req, res) => {
    const raw = parseStrict(zConnect, await readJson(req), 'network connect', REFUSED);
    const signal = requestSignal(res, ctx.signal);
    const { network, container } = await subjects(ctx, req, 'connect', raw.Container, signal);
    await connectContainer(ctx, container, network, decodeEndpoint(raw.EndpointConfig), signal);
    tell(ctx, 'connect', network, container);
    sendEmpty(res, 200);
  });
  router.post('/networks/:id/disconnect', async (req, res) => {
    const raw = parseStrict(zDisconnect, await readJson(req), 'network disconnect');
    const signal = requestSignal(res, ctx.signal);
    const { network, container } = await subjects(ctx, req, 'disconnect', raw.Container, signal);
    await disconnectContainer(ctx, container, network, raw.Force === true, signal);
    tell(ctx, 'disconnect', network, container);
    sendEmpty(res, 200);
  });
}

/** The network by its id, or the name of one that every node has; the container must be a single one. */
async function subjects(
  ctx: ApiContext,
  req: Request,
  action: 'connect' | 'disconnect',
  ref: string,
  signal: AbortSignal,
): Promise<{ network: string; container: StoredContainer }> {
  const asked = String(req.params['id']);
  const network = nodeNetworkOf(asked) ?? findNetwork(ctx.store, asked).id;
  if (ref === '') throw new InvalidError('Container: the name or id of a container is missing');
  const container = await findSingle(ctx, ref, signal);
  if ('service' in container) return { network, container };
  throw new UnsupportedError(
    `network ${action}: not supported by Shoal: container ${container.id} belongs to service ${container.serviceName}, ` +
      `which decides over its networks (docker service update --network-${action === 'connect' ? 'add' : 'rm'})`,
  );
}

function tell(
  ctx: ApiContext,
  action: 'connect' | 'disconnect',
  network: string,
  container: StoredContainer,
): void {
  const own = nodeNetworkOf(network);
  const name = own ?? ctx.store.get('networks', network)?.spec.name ?? network;
  const id = own === undefined ? network : nodeNetworkId(own);
  const type = own ?? driverName(ctx.store.get('networks', network)?.spec ?? { driver: 'overlay' });
  ctx.events.emit(draft('network', action, id, { container: container.id, name, type }));
}
