import { Router } from 'express';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';

/** GET /metrics: the text format of Prometheus. */
export function metricsRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/metrics', async (_req, res) => {
    if (ctx.metrics === undefined) throw new NotFoundError('this manager has no metrics');
    const text = await ctx.metrics.scrape();
    res.statusCode = 200;
    res.setHeader('Content-Type', ctx.metrics.contentType);
    res.setHeader('Content-Length', Buffer.byteLength(text));
    res.end(text);
  });
  return router;
}
