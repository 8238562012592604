/** What is done to one running container, wherever in the cluster it is. Its service decides what follows its end. */
import { constants } from 'node:os';
import { Router } from 'express';
import { z } from 'zod';
import type { Request } from 'express';
import {
  ConflictError,
  InvalidError,
  NotFoundError,
  UnsupportedError,
} from '../../../shared/errors/index.ts';
import { parsePsArgs, PS_COLUMNS } from '../../../shared/lib/ps-columns.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { containerEvent } from '../events/container-event.ts';
import { queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { callNode } from '../node-call.ts';
import { findContainer } from './containers.ts';

/** Seconds; -1: as long as it takes. */
export const zStopSeconds = z
  .string()
  .regex(/^-?\d{1,7}$/)
  .transform(Number)
  .pipe(z.number().int());
export const zCondition = z.enum(['not-running', 'next-exit', 'removed']);

export function containerActionsRouter(ctx: ApiContext): Router {
  const router = Router();

  router.post('/containers/:id/kill', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const { id, nodeId } = container;
    const name = queryText(req, 'signal') || 'SIGKILL';
    await callNode(ctx, nodeId, 'container.kill', { containerId: id, signal: name }, signal);
    ctx.events.emit(containerEvent('kill', container, { signal: signalNumber(name) }));
    sendEmpty(res, 204);
  });

  router.post('/containers/:id/stop', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const params = { containerId: container.id, ...stopOptions(req) };
    const { stopped } = await callNode(ctx, container.nodeId, 'container.stop', params, signal, Infinity);
    if (!stopped) ctx.events.emit(containerEvent('stop', container));
    sendEmpty(res, stopped ? 304 : 204);
  });

  for (const action of ['pause', 'unpause'] as const) {
    router.post(`/containers/:id/${action}`, async (req, res) => {
      const signal = requestSignal(res, ctx.signal);
      const container = await findContainer(ctx, req.params.id, signal);
      await callNode(ctx, container.nodeId, `container.${action}`, { containerId: container.id }, signal);
      ctx.events.emit(containerEvent(action, container));
      sendEmpty(res, 204);
    });
  }

  router.post('/containers/:id/wait', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const untilRemoved = requireCondition(req, container) === 'removed';
    // Clients take the head for the word that the wait has begun.
    res.setHeader('Content-Type', 'application/json');
    res.flushHeaders();
    const params = { containerId: container.id };
    const exit = await callNode(ctx, container.nodeId, 'container.wait', params, signal, Infinity);
    if (untilRemoved)
      await callNode(ctx, container.nodeId, 'container.until-removed', params, signal, Infinity).catch(
        ifGone,
      );
    const error = exit.error === undefined ? {} : { Error: { Message: exit.error } };
    res.end(`${JSON.stringify({ StatusCode: exit.exitCode, ...error })}\n`);
  });

  router.get('/containers/:id/top', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const asked = queryText(req, 'ps_args') ?? '';
    const format = parsePsArgs(asked);
    if (format === undefined)
      throw new UnsupportedError(
        `top: not supported by Shoal: ps_args "${asked}" (-ef and aux are, and -o with ${Object.keys(PS_COLUMNS).join(', ')})`,
      );
    const container = await findContainer(ctx, req.params.id, signal);
    const params = {
      containerId: container.id,
      ...(typeof format === 'string' ? { format } : { format: 'ef' as const, columns: format }),
    };
    const top = await callNode(ctx, container.nodeId, 'container.top', params, signal);
    ctx.events.emit(containerEvent('top', container));
    sendJson(res, 200, { Titles: top.titles, Processes: top.processes });
  });

  return router;
}

/** As events show it: SIGTERM, TERM and 15 are 15. */
export function signalNumber(name: string): string {
  const upper = name.toUpperCase();
  const known = new Map<string, number>(Object.entries(constants.signals));
  return String(known.get(upper) ?? known.get(`SIG${upper}`) ?? name);
}

/** `t` in seconds, -1 for as long as it takes. */
export function stopOptions(req: Request): { graceMs?: number; signal?: string } {
  const text = queryText(req, 't') ?? '';
  if (text !== '' && !zStopSeconds.safeParse(text).success)
    throw new InvalidError(`invalid t '${text}': seconds are expected`);
  const name = queryText(req, 'signal') ?? '';
  return {
    ...(text === '' ? {} : { graceMs: zStopSeconds.parse(text) * 1000 }),
    ...(name === '' ? {} : { signal: name }),
  };
}

function ifGone(error: unknown): void {
  if (!(error instanceof NotFoundError)) throw error;
}

function requireCondition(req: Request, container: PlacedContainer): z.output<typeof zCondition> {
  const asked = queryText(req, 'condition') || 'not-running';
  const { data: condition } = zCondition.safeParse(asked);
  if (condition === undefined) throw new InvalidError(`invalid condition: "${asked}"`);
  if (condition === 'next-exit' && container.state === 'exited')
    throw new ConflictError(
      `Container ${container.id} has ended and never runs again: its service replaces it`,
    );
  return condition;
}
