/** /managers: Shoal's own, for managers are processes of their own here, with a node beside them or without. */
import { Router } from 'express';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { ManagerView } from '../../membership/managers.ts';
import { defined, timeText } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';

export function managersRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/managers', (_req, res) => {
    const views = ctx.managers?.views() ?? [];
    sendJson(
      res,
      200,
      views.map((view) => encodeManager(view, ctx.managers?.ownId)),
    );
  });

  router.delete('/managers/:id', async (req, res) => {
    if (ctx.managers === undefined) throw new NotFoundError(`No such manager: ${req.params.id}`);
    await ctx.managers.remove(req.params.id, requestSignal(res, ctx.signal));
    sendEmpty(res, 204);
  });
  return router;
}

function encodeManager({ record, alive, leads, nodeId }: ManagerView, ownId: string | undefined): object {
  return defined({
    ID: record.id,
    Hostname: record.hostname,
    Addr: record.address,
    PeerURL: record.peerUrl,
    NodeID: nodeId,
    State: record.state,
    Leader: leads,
    Reachability: alive ? 'reachable' : 'unreachable',
    Self: record.id === ownId,
    Version: record.version,
    CreatedAt: timeText(record.createdAtMs),
  });
}
