import { Router } from 'express';
import type { ApiContext } from '../context.ts';
import type { ApiEvent } from '../events/event-log.ts';
import { passes, passesLabels, queryFilters, queryText, type Filters } from '../http/query.ts';
import { requestSignal, writeAll } from '../http/respond.ts';
import { parseTime } from '../logs/options.ts';

export const FILTERS = [
  'type',
  'event',
  'service',
  'node',
  'network',
  'secret',
  'config',
  'container',
  'label',
  'scope',
  'image',
  'daemon',
];
/** A reader that falls behind by this many events is dropped: it would hold them all in memory. */
const BACKLOG = 10_000;

export function eventsRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/events', async (req, res) => {
    const filters = queryFilters(req, FILTERS);
    const sinceMs = parseTime(queryText(req, 'since'), 'since');
    const untilMs = parseTime(queryText(req, 'until'), 'until');
    const gone = requestSignal(res, ctx.signal);
    const end = new AbortController();
    const signal = AbortSignal.any([gone, end.signal]);
    const queue: ApiEvent[] = sinceMs === undefined ? [] : [...ctx.events.since(sinceMs)];
    const wake = { up: (): void => undefined };
    const undo = ctx.events.listen((event) => {
      queue.push(event);
      if (queue.length > BACKLOG) end.abort();
      wake.up();
    });
    const timer =
      untilMs === undefined
        ? undefined
        : setTimeout(() => end.abort(), Math.min(2 ** 31 - 1, Math.max(0, untilMs - ctx.clock.now())));
    res.statusCode = 200;
    res.setHeader('Content-Type', 'application/json');
    res.flushHeaders();
    try {
      // What is queued goes out even when `until` is over already.
      do {
        for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
          if (untilMs !== undefined && event.timeNano > untilMs * 1e6) continue;
          if (matches(event, filters)) await writeAll(res, `${JSON.stringify(legacy(event))}\n`, gone);
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
  });
  return router;
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

/** With the fields that clients before API 1.22 read for containers, as Docker still sends them. */
function legacy(event: ApiEvent): object {
  if (event.Type !== 'container') return event;
  return { status: event.Action, id: event.Actor.ID, from: event.Actor.Attributes['image'] ?? '', ...event };
}

function matches(event: ApiEvent, filters: Filters): boolean {
  const named = (ref: string): boolean =>
    event.Actor.ID.startsWith(ref) || event.Actor.Attributes['name'] === ref;
  return (
    passes(filters, 'type', (type) => event.Type === type) &&
    passes(filters, 'event', (action) => event.Action === action) &&
    passes(filters, 'scope', (scope) => event.scope === scope) &&
    passes(filters, 'service', (ref) => event.Type === 'service' && named(ref)) &&
    passes(filters, 'node', (ref) => event.Type === 'node' && named(ref)) &&
    passes(filters, 'network', (ref) => event.Type === 'network' && named(ref)) &&
    passes(filters, 'secret', (ref) => event.Type === 'secret' && named(ref)) &&
    passes(filters, 'config', (ref) => event.Type === 'config' && named(ref)) &&
    passes(filters, 'container', (ref) => event.Type === 'container' && named(ref)) &&
    passes(filters, 'image', (ref) => event.Actor.Attributes['image'] === ref) &&
    passes(filters, 'daemon', () => false) &&
    passesLabels(filters, 'label', event.Actor.Attributes)
  );
}
