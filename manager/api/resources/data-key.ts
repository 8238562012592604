/** /data-key: which key secrets and configs are sealed with, and its rotation. */
import { Router } from 'express';
import { UnavailableError } from '../../../shared/errors/index.ts';
import { timeText } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { clusterOf } from '../ops/swarm.ts';

export function dataKeyRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/data-key', (_req, res) => {
    const { dataKeyId, dataKeyChangedAtMs: changedAtMs } = clusterOf(ctx);
    const progress = ctx.dataKeys?.progress;
    sendJson(res, 200, {
      KeyID: dataKeyId ?? '',
      ...(changedAtMs === undefined ? {} : { RotatedAt: timeText(changedAtMs) }),
      ...(progress === undefined
        ? {}
        : {
            Rotation: {
              KeyID: progress.keyId,
              StartedAt: timeText(progress.startedAtMs),
              Waiting: progress.waiting.map(({ id, hostname }) => ({ ID: id, Hostname: hostname })),
              Left: progress.left,
            },
          }),
    });
  });
  router.post('/data-key/rotate', async (_req, res) => {
    if (ctx.dataKeys === undefined) throw new UnavailableError('this manager can not rotate the data key');
    await ctx.dataKeys.begin(requestSignal(res, ctx.signal));
    sendEmpty(res, 202);
  });
  return router;
}
