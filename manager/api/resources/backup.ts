/**
 * POST /backup: the cluster in one file (docs/operate.md). Not a GET, though it changes nothing: the answer holds the CA's key
 * and the data key, which nobody shall get who may only look.
 */
import { Router } from 'express';
import { UnsupportedError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import { requestSignal, writeAll } from '../http/respond.ts';

export function backupRouter(ctx: ApiContext): Router {
  const router = Router();
  router.post('/backup', async (_req, res) => {
    if (ctx.backup === undefined) throw new UnsupportedError('backup: this manager has no store of its own');
    const signal = requestSignal(res, ctx.signal);
    // Until the first bytes are there, a failure is an answer with its reason.
    const bytes = ctx.backup(signal)[Symbol.asyncIterator]();
    let next = await bytes.next();
    res.statusCode = 200;
    res.setHeader('Content-Type', 'application/octet-stream');
    try {
      while (next.done !== true) {
        await writeAll(res, next.value, signal);
        next = await bytes.next();
      }
      res.end();
    } catch (error) {
      // A client must not take a part for the whole: without the last chunk its reading fails.
      res.destroy();
      if (!signal.aborted) ctx.logger.error({ err: error }, 'a backup broke off');
    } finally {
      await bytes.return?.();
    }
  });
  return router;
}
