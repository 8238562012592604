/** Shoal's own endpoints: compose files, converted here. */
import { Router, type Request } from 'express';
import { z } from 'zod';
import { NotFoundError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import { parseJson, readText } from '../http/body.ts';
import { queryFlag } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { deployStack, removeStack, stackNames, stackNetworks, stackServices } from '../ops/stacks.ts';
import { registryAuth } from './services.ts';

const zBody = z.object({ compose: z.string(), variables: z.record(z.string(), z.string()).nullish() });

export function stacksRouter(ctx: ApiContext): Router {
  const router = Router();

  router.put('/stacks/:name', async (req, res) => {
    const { compose, variables } = await readBody(req);
    const request = {
      stack: req.params.name,
      compose,
      variables,
      prune: queryFlag(req, 'prune'),
      registryAuth: registryAuth(req),
    };
    sendJson(res, 200, await deployStack(ctx, request, requestSignal(res, ctx.signal)));
  });

  router.get('/stacks', (_req, res) => {
    sendJson(
      res,
      200,
      stackNames(ctx.store).map((name) => describeStack(ctx, name)),
    );
  });

  router.get('/stacks/:name', (req, res) => {
    const { name } = req.params;
    if (!stackNames(ctx.store).includes(name)) throw new NotFoundError(`stack ${name} not found`);
    sendJson(res, 200, { ...describeStack(ctx, name), compose: ctx.store.get('stacks', name)?.compose });
  });

  router.delete('/stacks/:name', async (req, res) => {
    sendJson(res, 200, await removeStack(ctx, req.params.name, requestSignal(res, ctx.signal)));
  });
  return router;
}

/** The file as it is, or with the variables for it in JSON: `{"compose": "...", "variables": {"TAG": "1.2"}}`. */
async function readBody(req: Request): Promise<{ compose: string; variables: Record<string, string> }> {
  const text = await readText(req);
  const type = (req.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') return { compose: text, variables: {} };
  const body = parseStrict(zBody, parseJson(text, 'request body'), 'stack');
  return { compose: body.compose, variables: body.variables ?? {} };
}

function describeStack(ctx: ApiContext, name: string): object {
  const record = ctx.store.get('stacks', name);
  return {
    name,
    services: stackServices(ctx.store, name).map((service) => ({ id: service.id, name: service.name })),
    networks: stackNetworks(ctx.store, name).map((network) => ({ id: network.id, name: network.spec.name })),
    ...(record === undefined
      ? {}
      : {
          createdAt: new Date(record.createdAtMs).toISOString(),
          updatedAt: new Date(record.updatedAtMs).toISOString(),
        }),
  };
}
