/** docker stats: what one container uses, once or every second. */
import { Router } from 'express';
import { delay, isAbort } from '../../../shared/lib/abort.ts';
import type { ContainerSample } from '../../../shared/model/node-methods/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { encodeStats } from '../codec/stats-codec.ts';
import type { ApiContext } from '../context.ts';
import { queryFlag } from '../http/query.ts';
import { requestSignal, sendJson, writeAll } from '../http/respond.ts';
import { callNode } from '../node-call.ts';
import { findContainer } from './containers.ts';

const STATS_EVERY_MS = 1000;

export function statsRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/containers/:id/stats', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    if (!queryFlag(req, 'stream', true))
      return sendJson(res, 200, await oneStats(ctx, container, queryFlag(req, 'one-shot'), signal));
    res.setHeader('Content-Type', 'application/json');
    res.flushHeaders();
    try {
      for await (const stats of allStats(ctx, container, signal)) {
        await writeAll(res, `${JSON.stringify(stats)}\n`, signal);
      }
      res.end();
    } catch (error) {
      if (!signal.aborted && !isAbort(error)) throw error;
      res.end();
    }
  });
  return router;
}

async function sampleOf(ctx: ApiContext, container: PlacedContainer, signal: AbortSignal) {
  const params = { containerId: container.id };
  return (await callNode(ctx, container.nodeId, 'container.sample', params, signal)).sample;
}

/** Processor shares need two looks, a second apart, unless the client wants just one. */
async function oneStats(
  ctx: ApiContext,
  container: PlacedContainer,
  oneShot: boolean,
  signal: AbortSignal,
): Promise<object> {
  const first = await sampleOf(ctx, container, signal);
  if (first === undefined || oneShot) return encodeStats(container, first, undefined);
  await delay(STATS_EVERY_MS, signal);
  return encodeStats(container, await sampleOf(ctx, container, signal), first);
}

/** One a second until the container ends. */
async function* allStats(
  ctx: ApiContext,
  container: PlacedContainer,
  signal: AbortSignal,
): AsyncGenerator<object> {
  let previous: ContainerSample | undefined;
  for (;;) {
    const sample = await sampleOf(ctx, container, signal);
    yield encodeStats(container, sample, previous);
    if (sample === undefined) return;
    previous = sample;
    await delay(STATS_EVERY_MS, signal);
  }
}
