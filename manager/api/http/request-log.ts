import type { ServerResponse } from 'node:http';
import type { Request, RequestHandler } from 'express';
import { newId } from '../../../shared/lib/ids.ts';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Logger } from '../../../shared/model/options.ts';
import { onBehalfOf } from '../../request-scope.ts';
import type { AuditLog } from '../../audit/audit-log.ts';
import { principalOf } from '../access/entry.ts';
import { auditRequest } from './audit-request.ts';

const ids = new WeakMap<ServerResponse, string>();
/** What a client or a proxy may call its request: nothing that could break a line of a log, or be long. */
const WELL_FORMED = /^[A-Za-z0-9._:-]{1,64}$/;

export function requestId(res: ServerResponse): string | undefined {
  return ids.get(res);
}

/**
 * What of a request's target may be logged. Never the query: dockerode repeats the whole body there, the data of secrets
 * and the environment with it.
 */
export function loggedPath(req: Request): string {
  return req.originalUrl.replace(/\?.*$/s, '');
}

/**
 * Gives each request an id (its own X-Request-Id when that is well-formed), answers with it in X-Request-Id, and logs one
 * line when the answer is out. All that is done for the request is done on its behalf.
 */
export function requestLog(logger: Logger, clock: Clock, audit?: AuditLog): RequestHandler {
  return (req, res, next) => {
    const given = req.get('x-request-id') ?? '';
    const id = WELL_FORMED.test(given) ? given : newId().slice(0, 12);
    const startedMs = clock.now();
    const path = loggedPath(req);
    ids.set(res, id);
    res.setHeader('X-Request-Id', id);
    res.once('close', () => {
      const user = principalOf(req)?.name;
      const who = user === undefined ? {} : { user };
      const fields = { requestId: id, ...who, method: req.method, path, status: res.statusCode };
      logger.debug(
        { ...fields, elapsedMs: clock.now() - startedMs, aborted: !res.writableFinished },
        'request',
      );
    });
    const changes: string[] = [];
    if (audit !== undefined) auditRequest(audit, clock, { req, res, id, path, changes });
    onBehalfOf(id, next, changes);
  };
}
