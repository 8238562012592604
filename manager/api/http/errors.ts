/** The one place that turns an error into a response. */
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { AppError, describeError, HTTP_STATUS } from '../../../shared/errors/index.ts';
import { isAbort } from '../../../shared/lib/abort.ts';
import { StaleError } from '../../store/store.ts';
import type { Logger } from '../../../shared/model/options.ts';
import { StackError } from '../ops/stack-error.ts';
import { discardBody } from './body.ts';
import { sendJson } from './respond.ts';
import { loggedPath, requestId } from './request-log.ts';

export function errorStatus(error: unknown): number {
  if (error instanceof AppError) return HTTP_STATUS[error.code];
  if (error instanceof StaleError) return 409;
  // Express marks what it refuses itself (a path that can not be decoded) with a status.
  const status = (error as { status?: unknown } | undefined)?.status;
  return typeof status === 'number' && status >= 400 && status < 500 ? status : 500;
}

export function errorHandler(logger: Logger): ErrorRequestHandler {
  return (error: unknown, req, res, _next) => {
    const status = errorStatus(error);
    const fields = { requestId: requestId(res), method: req.method, path: loggedPath(req) };
    if (isAbort(error) && res.destroyed) return;
    if (!(error instanceof AppError) && status >= 500)
      logger.error({ ...fields, err: error }, 'request failed');
    if (res.headersSent) {
      res.destroy();
      return;
    }
    void answer(req, res, status, { message: describeError(error), ...errorDetails(error) });
  };
}

async function answer(req: Request, res: Response, status: number, body: object): Promise<void> {
  // What is left of a body that was refused half-read must not be taken for the next request.
  if (!(await discardBody(req))) res.setHeader('Connection', 'close');
  sendJson(res, status, body);
}

/** A stack that is refused lists its problems with their places. */
function errorDetails(error: unknown): object {
  return error instanceof StackError ? { errors: error.errors } : {};
}

/** Express would answer OPTIONS by itself; Docker knows no such method. */
export const noOptions: RequestHandler = (req, res, next) =>
  req.method === 'OPTIONS' ? pageNotFound(req, res, next) : next();

export const pageNotFound: RequestHandler = (_req, res) => {
  sendJson(res, 404, { message: 'page not found' });
};
