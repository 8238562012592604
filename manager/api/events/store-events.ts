/** Docker's events, made from what changes in the store. */
import { isTerminal } from '../../../shared/model/index.ts';
import type { Change, Store, TableName, Tables } from '../../store/store.ts';
import { driverName, scopeOf } from '../codec/network-driver.ts';
import { draft, type EventDraft } from './event.ts';
import { isSingle, singleContainerEvents, singleRunEvents } from './single-container-events.ts';

/** Records as they are, and those that went in the same moment: a container outlives none of what describes it. */
type Records = Pick<Store, 'get'>;

/** Events of one batch of changes, in their order. */
export function eventsOf(store: Store, changes: readonly Change[]): EventDraft[] {
  const records = withGone(store, changes);
  return changes.flatMap((change) => eventsOfOne(records, change));
}

/** The records with those that went in these changes. */
export function withGone(store: Store, changes: readonly Change[]): Records {
  const gone = new Map<string, Change['before']>();
  for (const { table, key, before, after } of changes)
    if (after === undefined && before !== undefined) gone.set(`${table}/${key}`, before);
  if (gone.size === 0) return store;
  return {
    get: <T extends TableName>(table: T, key: string) =>
      store.get(table, key) ?? (gone.get(`${table}/${key}`) as Tables[T] | undefined),
  };
}

function eventsOfOne(store: Records, change: Change): EventDraft[] {
  switch (change.table) {
    case 'services':
      return isSingle(change) ? singleContainerEvents(store, change) : serviceEvents(change);
    case 'nodes':
      return nodeEvents(change);
    case 'networks': {
      const spec = (change.after ?? change.before)?.spec;
      const name = spec?.name ?? '';
      const action = actionOf(change);
      if (action === 'update') return [];
      const of = spec ?? { driver: 'overlay' };
      return [draft('network', action, change.key, { name, type: driverName(of) }, scopeOf(of))];
    }
    case 'secrets':
    case 'configs': {
      const name = (change.after ?? change.before)?.spec.name ?? '';
      const type = change.table === 'secrets' ? 'secret' : 'config';
      // Marked before it is deleted, or not to be deleted after all: of no interest.
      if (change.after && change.before && change.after.removing !== change.before.removing) return [];
      // Sealed anew: nobody has done anything to it.
      if (change.after && change.before && change.after.sealed.keyId !== change.before.sealed.keyId)
        return [];
      return [draft(type, actionOf(change), change.key, { name }, 'swarm')];
    }
    case 'statuses':
      return singleRunEvents(store, change) ?? containerEvents(store, change);
    default:
      return [];
  }
}

function serviceEvents(change: Extract<Change, { table: 'services' }>): EventDraft[] {
  const { before, after } = change;
  const name = (after ?? before)?.name ?? '';
  // Gone for users when the removal was asked for; the record's deletion is no news.
  if (before?.removing === true) return [];
  const removed = after === undefined || after.removing === true;
  const action = before === undefined ? 'create' : removed ? 'remove' : 'update';
  const attributes: Record<string, string> = { name };
  const state = after?.updateStatus?.state;
  if (action === 'update' && state !== before?.updateStatus?.state) {
    attributes['updatestate.new'] = state?.replaceAll('-', '_') ?? '';
    attributes['updatestate.old'] = before?.updateStatus?.state.replaceAll('-', '_') ?? '';
  }
  if (
    action === 'update' &&
    after?.scaled !== undefined &&
    after.scaled.replicas !== before?.scaled?.replicas
  ) {
    if (before?.scaled !== undefined) attributes['replicas.old'] = String(before.scaled.replicas);
    attributes['replicas.new'] = String(after.scaled.replicas);
    attributes['shoal.autoscale.reason'] = after.scaled.reason;
  }
  return [draft('service', action, change.key, attributes, 'swarm')];
}

function nodeEvents(change: Extract<Change, { table: 'nodes' }>): EventDraft[] {
  const { before, after } = change;
  const attributes: Record<string, string> = { name: (after ?? before)?.description?.hostname ?? '' };
  const pairs = [
    ['state', before?.status, after?.status],
    ['availability', before?.spec.availability, after?.spec.availability],
    ['role', before?.spec.role, after?.spec.role],
  ] as const;
  for (const [name, old, now] of pairs) {
    if (old === undefined || now === undefined || old === now) continue;
    attributes[`${name}.old`] = old;
    attributes[`${name}.new`] = now;
  }
  return [draft('node', actionOf(change), change.key, attributes, 'swarm')];
}

/** Of the container of a task: in Docker's order, with its networks' `connect` and `disconnect` around its life. */
function containerEvents(store: Records, change: Extract<Change, { table: 'statuses' }>): EventDraft[] {
  const { before, after } = change;
  const container = (after ?? before)?.container;
  if (container === undefined) return [];
  const id = container.containerId;
  const attributes = containerAttributes(store, change.key, container.exitCode);
  const event = (action: string): EventDraft => draft('container', action, id, attributes);
  const found: EventDraft[] = [];
  if (after !== undefined && before?.container === undefined) found.push(event('create'));
  if (after?.state === 'running' && before?.state !== 'running')
    found.push(...networkEvents(store, 'connect', change.key, id), event('start'));
  if (after?.health !== undefined && after.health !== 'starting' && after.health !== before?.health)
    found.push(event(`health_status: ${after.health}`));
  if (after !== undefined && isTerminal(after.state) && !(before !== undefined && isTerminal(before.state)))
    found.push(
      ...(container.oomKilled === true ? [event('oom')] : []),
      event('die'),
      ...networkEvents(store, 'disconnect', change.key, id),
    );
  if (after === undefined) found.push(event('destroy'));
  return found;
}

function networkEvents(
  store: Records,
  action: 'connect' | 'disconnect',
  taskId: string,
  container: string,
): EventDraft[] {
  return (store.get('tasks', taskId)?.addresses ?? []).map(({ network }) => {
    const name = store.get('networks', network)?.spec.name ?? network;
    return draft('network', action, network, { container, name, type: 'overlay' });
  });
}

function containerAttributes(
  store: Records,
  taskId: string,
  exitCode: number | undefined,
): Record<string, string> {
  const task = store.get('tasks', taskId);
  const service = task === undefined ? undefined : store.get('services', task.serviceId);
  const spec =
    task === undefined ? undefined : store.get('revisions', `${task.serviceId}.${task.revision}`)?.spec;
  return {
    ...spec?.container.labels,
    ...(spec === undefined ? {} : { image: spec.container.image }),
    ...(task === undefined || service === undefined
      ? {}
      : {
          name: `${service.name}.${task.slot > 0 ? task.slot : (task.nodeId ?? '')}.${task.id}`,
          'com.docker.swarm.node.id': task.nodeId ?? '',
          'com.docker.swarm.service.id': service.id,
          'com.docker.swarm.service.name': service.name,
        }),
    'com.docker.swarm.task.id': taskId,
    ...(exitCode === undefined ? {} : { exitCode: String(exitCode) }),
  };
}

function actionOf(change: Change): 'create' | 'update' | 'remove' {
  if (change.before === undefined) return 'create';
  return change.after === undefined ? 'remove' : 'update';
}
