/** Events of single containers, made from what changes in the store: create, start, die, destroy. */
import { isTerminal, type Service, serviceIdOf } from '../../../shared/model/index.ts';
import type { Change, Store } from '../../store/store.ts';
import { draft, type EventDraft } from './event.ts';

type Records = Pick<Store, 'get'>;
type ServiceChange = Extract<Change, { table: 'services' }>;
type StatusChange = Extract<Change, { table: 'statuses' }>;

/** The hidden service of a container. */
export function isSingle({ before, after }: ServiceChange): boolean {
  return (after ?? before)?.run !== undefined;
}

export function singleContainerEvents(store: Records, { before, after }: ServiceChange): EventDraft[] {
  // Gone for users when the removal was asked for; the record's deletion is no news.
  if (before === undefined && after !== undefined) return eventOf(store, 'create', after);
  if (before?.removing !== true && after?.removing === true) return eventOf(store, 'destroy', after);
  return [];
}

function eventOf(store: Records, action: string, service: Service): EventDraft[] {
  const spec = store.get('revisions', `${service.id}.${service.revision}`)?.spec;
  if (spec?.mode.kind !== 'container') return [];
  const { labels, image } = spec.container;
  return [draft('container', action, spec.mode.containerId, { ...labels, image, name: service.name })];
}

/** Undefined for the task of a service. */
export function singleRunEvents(store: Records, change: StatusChange): EventDraft[] | undefined {
  const { before, after, key } = change;
  const id = (after ?? before)?.container?.containerId ?? '';
  const service = store.get('services', serviceIdOf(id));
  const spec =
    service === undefined ? undefined : store.get('revisions', `${service.id}.${service.revision}`)?.spec;
  if (service === undefined || spec?.mode.kind !== 'container' || spec.mode.containerId !== id)
    return undefined;
  // A run that is forgotten goes without a word: its container stays.
  if (after === undefined) return [];
  const task = store.get('tasks', key);
  const { labels, image } = spec.container;
  const base = { ...labels, image, name: service.name, 'com.docker.swarm.node.id': task?.nodeId ?? '' };
  const begins = after.startedAtMs !== undefined && before?.startedAtMs === undefined;
  const ends = isTerminal(after.state) && !(before !== undefined && isTerminal(before.state));
  const networks = (action: 'connect' | 'disconnect'): EventDraft[] =>
    (task?.addresses ?? []).map(({ network }) => {
      const { name = network, driver = 'overlay' } = store.get('networks', network)?.spec ?? {};
      return draft('network', action, network, { container: id, name, type: driver });
    });
  return [
    ...(begins ? [...networks('connect'), draft('container', 'start', id, base)] : []),
    ...(ends && after.startedAtMs !== undefined
      ? [
          ...(after.container?.oomKilled === true ? [draft('container', 'oom', id, base)] : []),
          draft('container', 'die', id, { ...base, exitCode: String(after.container?.exitCode ?? 0) }),
          ...networks('disconnect'),
        ]
      : []),
  ];
}
