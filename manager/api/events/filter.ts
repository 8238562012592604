/** Which events a client asked for, by the rules of Docker's daemon (moby daemon/events/filter.go). Pure. */
import { passes, passesLabels, type Filters } from '../http/query.ts';
import type { ApiEvent, EventType } from './event.ts';

/** Filters that name an object; all take the start of its id or of its name. */
const NAMED = [
  'config',
  'container',
  'daemon',
  'network',
  'node',
  'plugin',
  'secret',
  'service',
  'volume',
] as const satisfies readonly EventType[];

export const EVENT_FILTERS: readonly string[] = [...NAMED, 'event', 'image', 'label', 'scope', 'type'];

/** Events whose action has a part of its own after a colon. */
const WITH_DETAIL: readonly string[] = ['health_status', 'exec_create', 'exec_start'];

export function matchesEvent(event: ApiEvent, filters: Filters): boolean {
  return (
    passes(filters, 'type', (type) => event.Type === type) &&
    passes(filters, 'scope', (scope) => event.scope === scope) &&
    matchesAction(event.Action, filters) &&
    NAMED.every((type) => passes(filters, type, (ref) => event.Type === type && isNamed(event, ref))) &&
    passes(filters, 'image', (ref) => isOfImage(event, ref)) &&
    passesLabels(filters, 'label', event.Actor.Attributes)
  );
}

function matchesAction(action: string, filters: Filters): boolean {
  const loose = (filters.get('event') ?? []).some((wanted) => WITH_DETAIL.includes(wanted));
  return passes(filters, 'event', (wanted) => (loose ? action.startsWith(wanted) : action === wanted));
}

function isNamed({ Actor }: ApiEvent, ref: string): boolean {
  return Actor.ID.startsWith(ref) || Actor.Attributes['name']?.startsWith(ref) === true;
}

/** An image's own events, and those of the containers made of it; with and without the tag. */
function isOfImage({ Type, Actor }: ApiEvent, ref: string): boolean {
  if (Type !== 'image' && Type !== 'container') return false;
  const names = Type === 'image' ? [Actor.ID, Actor.Attributes['name']] : [Actor.Attributes['image']];
  return names.some((name) => name !== undefined && (name === ref || withoutTag(name) === ref));
}

function withoutTag(name: string): string {
  return name.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
}
