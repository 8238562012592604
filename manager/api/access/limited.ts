/** What the API works with when it serves a user who is no admin. */
import type { ApiContext } from '../context.ts';
import type { EventLog, Events } from '../events/event-log.ts';
import { limitedGateway } from './limited-gateway.ts';
import { limitedStore } from './limited-store.ts';
import type { Access } from './routes.ts';

export function limitedContext(
  whole: ApiContext & { readonly events: EventLog },
  access: Access,
): ApiContext {
  if (access.role === 'admin') return whole;
  // Backups hold everything.
  const { backup: _, ...rest } = whole;
  const store = limitedStore(whole.store, access);
  const gateway = limitedGateway(whole.gateway, store, access);
  return { ...rest, store, gateway, events: limitedEvents(whole.events, access) };
}

/** Of the user's stacks only; nodes and images are of none. */
function limitedEvents(all: EventLog, { stacks }: Access): Events {
  if (stacks === undefined) return all;
  const mine = new Set(stacks);
  const sees = (event: Parameters<EventLog['stackOf']>[0]): boolean => mine.has(all.stackOf(event) ?? '');
  return {
    get listenerCount() {
      return all.listenerCount;
    },
    emit: (draft) => all.emit(draft),
    since: (ms) => all.since(ms).filter(sees),
    listen: (listener) => all.listen((event) => sees(event) && listener(event)),
  };
}
