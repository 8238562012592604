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
import type { StackContents } from '../../stack/index.ts';
import { stackFiles } from '../ops/stack-files.ts';
import { registryAuth } from './services.ts';

const zBase64 = z.base64('base64 is expected');
const zContents = z.object({
  files: z.record(z.string(), zBase64).nullish(),
  environment: z.record(z.string(), zBase64).nullish(),
});
const zBody = z.object({
  compose: z.string(),
  variables: z.record(z.string(), z.string()).nullish(),
  contents: zContents.nullish(),
});

/** The compose file, and the contents of its secrets and configs. */
const BODY_LIMIT_BYTES = 32 * 1024 * 1024;

export function stacksRouter(ctx: ApiContext): Router {
  const router = Router();

  router.put('/stacks/:name', async (req, res) => {
    const { compose, variables, contents } = await readBody(req);
    const request = {
      stack: req.params.name,
      compose,
      variables,
      contents,
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
async function readBody(
  req: Request,
): Promise<{ compose: string; variables: Record<string, string>; contents?: StackContents }> {
  const text = await readText(req, BODY_LIMIT_BYTES);
  const type = (req.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') return { compose: text, variables: {} };
  const body = parseStrict(zBody, parseJson(text, 'request body'), 'stack');
  const { files, environment } = body.contents ?? {};
  const contents = { files: files ?? {}, environment: environment ?? {} };
  return { compose: body.compose, variables: body.variables ?? {}, contents };
}

function describeStack(ctx: ApiContext, name: string): object {
  const record = ctx.store.get('stacks', name);
  return {
    name,
    services: stackServices(ctx.store, name).map((service) => ({ id: service.id, name: service.name })),
    networks: stackNetworks(ctx.store, name).map((network) => ({ id: network.id, name: network.spec.name })),
    secrets: stackFiles(ctx.store, 'secret', name).map(({ id, spec }) => ({ id, name: spec.name })),
    configs: stackFiles(ctx.store, 'config', name).map(({ id, spec }) => ({ id, name: spec.name })),
    ...(record === undefined
      ? {}
      : {
          createdAt: new Date(record.createdAtMs).toISOString(),
          updatedAt: new Date(record.updatedAtMs).toISOString(),
        }),
  };
}
