/** /secrets and /configs: the same but for the words, the sizes, and that a secret's data is never shown. */
import { Router } from 'express';
import type { StoredFile, StoredFileKind } from '../../../shared/model/index.ts';
import { decodeFileSpec, encodeFile } from '../codec/file-codec.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { passes, passesLabels, queryFilters, queryVersion } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { createFile, findFile, openFile, removeFile, tableOf, updateFile } from '../ops/files.ts';

export const FILTERS = ['id', 'name', 'names', 'label'];

export function filesRouter(ctx: ApiContext, kind: StoredFileKind): Router {
  const router = Router();
  const { store } = ctx;
  const table = tableOf(kind);
  const show = (file: StoredFile): object => {
    const data = kind === 'config' ? openFile(ctx, kind, file) : undefined;
    return encodeFile(file, store.version(table, file.id), data);
  };

  router.get(`/${table}`, (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const files = [...store.all(table).values()].filter(
      ({ id, spec }) =>
        passes(filters, 'id', (prefix) => id.startsWith(prefix)) &&
        // As in Swarm: `name` by its start, `names` whole.
        passes(filters, 'name', (prefix) => spec.name.startsWith(prefix)) &&
        passes(filters, 'names', (name) => spec.name === name) &&
        passesLabels(filters, 'label', spec.labels),
    );
    sendJson(res, 200, files.map(show));
  });

  router.post(`/${table}/create`, async (req, res) => {
    const { spec, data } = decodeFileSpec(kind, await readJson(req));
    const file = { spec, data: data ?? Buffer.alloc(0) };
    sendJson(res, 201, { ID: await createFile(ctx, kind, file, requestSignal(res, ctx.signal)) });
  });

  router.get(`/${table}/:id`, (req, res) => {
    sendJson(res, 200, show(findFile(store, kind, req.params.id)));
  });

  router.post(`/${table}/:id/update`, async (req, res) => {
    const version = queryVersion(req);
    const update = { version, ...decodeFileSpec(kind, await readJson(req)) };
    const file = findFile(store, kind, req.params.id);
    await updateFile(ctx, kind, file, update, requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });

  router.delete(`/${table}/:id`, async (req, res) => {
    await removeFile(ctx, kind, findFile(store, kind, req.params.id), requestSignal(res, ctx.signal));
    sendEmpty(res, 204);
  });
  return router;
}
