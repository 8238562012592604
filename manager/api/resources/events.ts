import { Router, type Response } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { ApiContext } from '../context.ts';
import type { ApiEvent } from '../events/event.ts';
import { EVENT_FILTERS, matchesEvent } from '../events/filter.ts';
import { queryFilters, queryText, type Filters } from '../http/query.ts';
import { requestSignal, writeAll } from '../http/respond.ts';
import { parseTime } from '../logs/options.ts';

/** A reader that falls behind by this many events is cut off: it would hold them all in memory. */
const BACKLOG = 10_000;

interface Span {
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
}

export function eventsRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/events', async (req, res) => {
    const filters = queryFilters(req, EVENT_FILTERS);
    const sinceMs = parseTime(queryText(req, 'since'), 'since');
    const untilMs = parseTime(queryText(req, 'until'), 'until');
    if (sinceMs !== undefined && untilMs !== undefined && untilMs < sinceMs) {
      const [since, until] = [queryText(req, 'since'), queryText(req, 'until')];
      throw new InvalidError(`\`since\` time (${since}) cannot be after \`until\` time (${until})`);
    }
    res.statusCode = 200;
    res.setHeader('Content-Type', 'application/json');
    res.flushHeaders();
    await sendEvents(ctx, res, filters, { sinceMs, untilMs });
  });
  return router;
}

async function sendEvents(ctx: ApiContext, res: Response, filters: Filters, span: Span): Promise<void> {
  const { sinceMs, untilMs } = span;
  const gone = requestSignal(res, ctx.signal);
  const end = new AbortController();
  const signal = AbortSignal.any([gone, end.signal]);
  const wanted = (event: ApiEvent): boolean =>
    (untilMs === undefined || event.timeNano <= untilMs * 1e6) && matchesEvent(event, filters);
  const queue: ApiEvent[] = sinceMs === undefined ? [] : ctx.events.since(sinceMs).filter(wanted);
  const wake = { up: (): void => undefined };
  const undo = ctx.events.listen((event) => {
    if (!wanted(event)) return;
    // The client sees a broken connection, not a gap.
    if (queue.length >= BACKLOG) return void res.destroy();
    queue.push(event);
    wake.up();
  });
  const timer =
    untilMs === undefined
      ? undefined
      : setTimeout(() => end.abort(), Math.min(2 ** 31 - 1, Math.max(0, untilMs - ctx.clock.now())));
  try {
    // What is queued goes out even when `until` is over already.
    do {
      for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
        await writeAll(res, `${JSON.stringify(legacy(event))}\n`, gone);
      }
      await sleep(wake, signal);
    } while (!signal.aborted || queue.length > 0);
  } catch (error) {
    if (!gone.aborted) throw error;
  } finally {
    clearTimeout(timer);
    undo();
    res.end();
  }
}

/** Until `wake.up()` is called or the signal aborts. */
function sleep(wake: { up: () => void }, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      signal.removeEventListener('abort', settle);
      wake.up = () => undefined;
      resolve();
    };
    wake.up = settle;
    signal.addEventListener('abort', settle, { once: true });
  });
}

/** With the fields that clients before API 1.22 read for containers and images, as Docker still sends them. */
function legacy(event: ApiEvent): object {
  const { ID: id, Attributes } = event.Actor;
  if (event.Type === 'image') return { status: event.Action, id, ...event };
  if (event.Type !== 'container') return event;
  return { status: event.Action, id, from: Attributes['image'] ?? '', ...event };
}
