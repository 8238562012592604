/** Shoal's own endpoints: compose files, converted here. */
import { Router, type Request } from 'express';
import { z } from 'zod';
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import type { StackRevision, StackSource } from '../../../shared/model/index.ts';
import type { ApiContext } from '../context.ts';
import { parseJson, readText } from '../http/body.ts';
import { queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import type { StackContents } from '../../stack/index.ts';
import { stackFiles } from '../ops/stack-files.ts';
import { stackNames, stackNetworks, stackServices } from '../ops/stack-members.ts';
import { currentRevision, findRevision, stackRevisions } from '../ops/stack-revisions.ts';
import { compareStack, deployStack, removeStack, rollbackStack } from '../ops/stacks.ts';
import { registryAuth } from './services.ts';

const zBase64 = z.base64('base64 is expected');
const zContents = z.object({
  files: z.record(z.string(), zBase64).nullish(),
  environment: z.record(z.string(), zBase64).nullish(),
});
export const zBody = z.object({
  compose: z.union([
    z.string(),
    z.array(z.object({ path: z.string().optional(), text: z.string() })).min(1, 'a file is expected'),
  ]),
  files: z.record(z.string(), z.string().nullable()).nullish(),
  variables: z.record(z.string(), z.string()).nullish(),
  profiles: z.array(z.string()).nullish(),
  contents: zContents.nullish(),
});

export const zRevision = z.coerce.number().int().min(1);

/** The files, and the contents of their secrets and configs. */
const BODY_LIMIT_BYTES = 32 * 1024 * 1024;

export function stacksRouter(ctx: ApiContext): Router {
  const router = Router();

  router.put('/stacks/:name', async (req, res) => {
    const request = {
      ...(await readBody(req)),
      stack: req.params.name,
      prune: queryFlag(req, 'prune'),
      registryAuth: registryAuth(req),
    };
    sendJson(res, 200, await deployStack(ctx, request, requestSignal(res, ctx.signal)));
  });

  router.post('/stacks/:name/diff', async (req, res) => {
    sendJson(res, 200, compareStack(ctx, req.params.name, await readBody(req)));
  });

  router.post('/stacks/:name/rollback', async (req, res) => {
    const revision = queryRevision(queryText(req, 'revision'));
    sendJson(res, 200, await rollbackStack(ctx, req.params.name, revision, requestSignal(res, ctx.signal)));
  });

  router.get('/stacks/:name/revisions', (req, res) => {
    requireStack(ctx, req.params.name);
    sendJson(res, 200, stackRevisions(ctx.store, req.params.name).map(describeRevision));
  });

  router.get('/stacks/:name/revisions/:revision', (req, res) => {
    const { name, revision } = req.params;
    const found = findRevision(ctx.store, name, queryRevision(revision));
    const { compose, files } = found.source;
    sendJson(res, 200, { ...describeRevision(found), compose, files });
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
    requireStack(ctx, name);
    const compose = currentRevision(ctx.store, name)?.source.compose;
    sendJson(res, 200, { ...describeStack(ctx, name), compose });
  });

  router.delete('/stacks/:name', async (req, res) => {
    sendJson(res, 200, await removeStack(ctx, req.params.name, requestSignal(res, ctx.signal)));
  });
  return router;
}

function requireStack(ctx: ApiContext, name: string): void {
  if (!stackNames(ctx.store).includes(name)) throw new NotFoundError(`stack ${name} not found`);
}

function queryRevision(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const revision = zRevision.safeParse(text);
  if (!revision.success) {
    throw new InvalidError(`revision '${text}': a whole number from 1 is expected`);
  }
  return revision.data;
}

/**
 * One file as it is, or JSON: `{"compose": "...", "variables": {"TAG": "1.2"}}`; compose may be a list of
 * `{"path", "text"}` that are merged, `files` holds what they refer to, by path.
 */
async function readBody(req: Request): Promise<StackSource & { contents?: StackContents }> {
  const text = await readText(req, BODY_LIMIT_BYTES);
  const type = (req.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') return { compose: text, files: {}, variables: {}, profiles: [] };
  const body = parseStrict(zBody, parseJson(text, 'request body'), 'stack');
  const { compose, files, variables, profiles } = body;
  const contents = {
    files: body.contents?.files ?? {},
    environment: body.contents?.environment ?? {},
  };
  return { compose, files: files ?? {}, variables: variables ?? {}, profiles: profiles ?? [], contents };
}

/** Variables by name only: their values may be meant for one service. */
function describeRevision({ revision, createdAtMs, source }: StackRevision): object {
  const { compose, files, variables, profiles } = source;
  const paths = typeof compose === 'string' ? [] : compose.flatMap(({ path }) => path ?? []);
  return {
    revision,
    createdAt: new Date(createdAtMs).toISOString(),
    composeFiles: paths,
    otherFiles: Object.keys(files).filter((path) => files[path] !== null),
    variables: Object.keys(variables),
    profiles,
  };
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
          revision: record.revision,
          createdAt: new Date(record.createdAtMs).toISOString(),
          updatedAt: new Date(record.updatedAtMs).toISOString(),
        }),
  };
}
