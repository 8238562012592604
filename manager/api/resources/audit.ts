/** /audit: who did what, as this manager has written it down. */
import { Router } from 'express';
import { InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import { queryText, zWholeText } from '../http/query.ts';
import { sendJson } from '../http/respond.ts';
import { parseTime } from '../logs/options.ts';

const DEFAULT_LIMIT = 1_000;
const MAX_LIMIT = 100_000;

export function auditRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/audit', async (req, res) => {
    if (ctx.audit === undefined) throw new UnavailableError('this manager keeps no audit log');
    const sinceMs = parseTime(queryText(req, 'since'), 'since');
    const user = queryText(req, 'user');
    const limit = zWholeText.safeParse(queryText(req, 'limit') ?? String(DEFAULT_LIMIT));
    if (!limit.success || limit.data < 1 || limit.data > MAX_LIMIT)
      throw new InvalidError(`invalid limit: a number from 1 to ${MAX_LIMIT} is expected`);
    sendJson(res, 200, await ctx.audit.read({ sinceMs, user: user || undefined, limit: limit.data }));
  });
  return router;
}
