/** Shoal's own endpoints beside Docker's: what a service was, and the way back. */
import { Router, type Request } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Service } from '../../../shared/model/index.ts';
import { encodeChanges, encodeRevision, encodeRevisionSpec } from '../codec/revision-codec.ts';
import type { ApiContext } from '../context.ts';
import { queryText, queryVersion } from '../http/query.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { findService } from '../ops/service-reads.ts';
import { findServiceRevision, keptRevisions, rollbackService } from '../ops/service-revisions.ts';

export const zRevisionText = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number)
  .pipe(z.number().int().min(1));

export function serviceRevisionsRouter(ctx: ApiContext): Router {
  const router = Router();
  const { store } = ctx;

  router.get('/services/:id/revisions', (req, res) => {
    const service = findService(store, req.params.id);
    const kept = keptRevisions(store, service);
    const list = kept.map((revision, i) => {
      const before = kept[i + 1];
      // Of the first, and of one whose forerunner is not kept, nothing can be said.
      const known = before !== undefined && before.revision === revision.revision - 1;
      const shown = encodeRevision(service, revision);
      return known ? { ...shown, Changes: encodeChanges(before, revision) } : shown;
    });
    sendJson(res, 200, list);
  });

  router.get('/services/:id/revisions/diff', (req, res) => {
    const service = findService(store, req.params.id);
    const to = revisionOf(queryText(req, 'to'), 'to') ?? service.revision;
    const from = revisionOf(queryText(req, 'from'), 'from') ?? revisionBefore(ctx, service, to);
    const changes = encodeChanges(
      findServiceRevision(store, service, from),
      findServiceRevision(store, service, to),
    );
    sendJson(res, 200, { From: from, To: to, Changes: changes });
  });

  router.get('/services/:id/revisions/:revision', (req, res) => {
    const service = findService(store, req.params.id);
    const number = revisionOf(req.params.revision, 'revision') ?? service.revision;
    sendJson(res, 200, encodeRevisionSpec(service, findServiceRevision(store, service, number)));
  });

  router.post('/services/:id/rollback', async (req, res) => {
    const request = rollbackRequest(req);
    const service = findService(store, req.params.id);
    const revision = await rollbackService(ctx, service, request, requestSignal(res, ctx.signal));
    sendJson(res, 200, { Revision: revision });
  });
  return router;
}

function rollbackRequest(req: Request): { version: number; revision?: number } {
  const version = queryVersion(req);
  const revision = revisionOf(queryText(req, 'revision'), 'revision');
  return revision === undefined ? { version } : { version, revision };
}

function revisionOf(text: string | undefined, name: string): number | undefined {
  if (text === undefined || text === '') return undefined;
  const revision = zRevisionText.safeParse(text);
  if (revision.success) return revision.data;
  throw new InvalidError(`invalid ${name} '${text}': the number of a revision is expected, from 1`);
}

/** The one before in number that is kept. */
function revisionBefore({ store }: ApiContext, service: Service, revision: number): number {
  const before = keptRevisions(store, service).find((one) => one.revision < revision);
  if (before !== undefined) return before.revision;
  throw new InvalidError(`service ${service.name} has no revision before ${revision}`);
}
