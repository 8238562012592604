/** Shoal's own: why a service is as it is. Of a task, /tasks/{id} says it. */
import { Router } from 'express';
import type { ApiContext } from '../context.ts';
import { sendJson } from '../http/respond.ts';
import { explainService } from '../ops/explain.ts';
import { findService } from '../ops/service-reads.ts';

export function explainRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/services/:id/explain', (req, res) => {
    sendJson(res, 200, explainService(ctx, findService(ctx.store, req.params.id)));
  });
  return router;
}
