import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { newId } from '../../../shared/lib/ids.ts';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Logger } from '../../../shared/model/options.ts';

const ids = new WeakMap<ServerResponse, string>();

export function requestId(res: ServerResponse): string | undefined {
  return ids.get(res);
}

/** Gives each request an id, answers with it in X-Request-Id, and logs one line when the answer is out. */
export function requestLog(logger: Logger, clock: Clock): RequestHandler {
  return (req, res, next) => {
    const id = newId().slice(0, 12);
    const startedMs = clock.now();
    const path = req.originalUrl;
    ids.set(res, id);
    res.setHeader('X-Request-Id', id);
    res.once('close', () => {
      const fields = { requestId: id, method: req.method, path, status: res.statusCode };
      logger.debug(
        { ...fields, elapsedMs: clock.now() - startedMs, aborted: !res.writableFinished },
        'request',
      );
    });
    next();
  };
}
