import { Router } from 'express';
import type { ApiContext } from '../context.ts';
import { sendJson } from '../http/respond.ts';
import { openApiDocument } from '../openapi/document.ts';
import { OPERATIONS } from '../openapi/operations.ts';

/** GET /openapi.json: made when it is first asked for. */
export function openApiRouter(ctx: ApiContext): Router {
  const router = Router();
  let made: object | undefined;
  router.get('/openapi.json', (_req, res) => {
    made ??= openApiDocument(OPERATIONS, ctx.version);
    sendJson(res, 200, made);
  });
  return router;
}
