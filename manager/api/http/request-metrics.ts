import type { RequestHandler } from 'express';
import type { ApiMetrics } from '../context.ts';

/** Tells each request by the pattern of its route, never by its path: that has names and ids in it. */
export function requestMetrics(metrics: ApiMetrics): RequestHandler {
  return (req, res, next) => {
    const startedMs = performance.now();
    metrics.began();
    res.once('close', () => {
      const { path } = (req.route ?? {}) as { path?: string };
      const seconds = (performance.now() - startedMs) / 1000;
      metrics.ended({ route: path, method: req.method, status: res.statusCode, seconds });
    });
    next();
  };
}
