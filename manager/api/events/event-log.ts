/** Docker's events, made from what changes in the store; the newest are kept for `since`. */
import { isTerminal } from '../../../shared/model/index.ts';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { Change, Store } from '../../store/store.ts';

const KEPT = 1000;

export interface ApiEvent {
  readonly Type: 'service' | 'node' | 'network' | 'container' | 'secret' | 'config';
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
  readonly scope: 'swarm' | 'local';
  /** Seconds. */
  readonly time: number;
  readonly timeNano: number;
}

type Draft = Omit<ApiEvent, 'time' | 'timeNano'>;

export class EventLog {
  readonly #kept: ApiEvent[] = [];
  readonly #listeners = new Set<(event: ApiEvent) => void>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #undo: () => void;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.#undo = store.onChange((changes) => this.#take(changes));
  }

  /** Events kept from that time on. */
  since(ms: number): readonly ApiEvent[] {
    return this.#kept.filter((event) => event.timeNano >= ms * 1e6);
  }

  /** Returns the undo. */
  listen(listener: (event: ApiEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#undo();
    this.#listeners.clear();
  }

  #take(changes: readonly Change[]): void {
    const nowMs = this.#clock.now();
    for (const draft of changes.flatMap((change) => eventsOf(this.#store, change))) {
      const event = { ...draft, time: Math.floor(nowMs / 1000), timeNano: nowMs * 1e6 };
      this.#kept.push(event);
      if (this.#kept.length > KEPT) this.#kept.shift();
      for (const listener of this.#listeners) listener(event);
    }
  }
}

function eventsOf(store: Store, change: Change): Draft[] {
  switch (change.table) {
    case 'services':
      return serviceEvents(change);
    case 'nodes':
      return nodeEvents(change);
    case 'networks': {
      const name = (change.after ?? change.before)?.spec.name ?? '';
      const action = actionOf(change);
      if (action === 'update') return [];
      const attributes = { name, type: 'overlay' };
      return [
        {
          Type: 'network',
          Action: action,
          Actor: { ID: change.key, Attributes: attributes },
          scope: 'swarm',
        },
      ];
    }
    case 'secrets':
    case 'configs': {
      const Attributes = { name: (change.after ?? change.before)?.spec.name ?? '' };
      const Type = change.table === 'secrets' ? 'secret' : 'config';
      return [{ Type, Action: actionOf(change), Actor: { ID: change.key, Attributes }, scope: 'swarm' }];
    }
    case 'statuses':
      return containerEvents(store, change);
    default:
      return [];
  }
}

function serviceEvents(change: Extract<Change, { table: 'services' }>): Draft[] {
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
  return [
    { Type: 'service', Action: action, Actor: { ID: change.key, Attributes: attributes }, scope: 'swarm' },
  ];
}

function nodeEvents(change: Extract<Change, { table: 'nodes' }>): Draft[] {
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
  const actor = { ID: change.key, Attributes: attributes };
  return [{ Type: 'node', Action: actionOf(change), Actor: actor, scope: 'swarm' }];
}

function containerEvents(store: Store, change: Extract<Change, { table: 'statuses' }>): Draft[] {
  const { before, after } = change;
  const container = (after ?? before)?.container;
  if (container === undefined) return [];
  const actions: string[] = [];
  if (after !== undefined && before?.container === undefined) actions.push('create');
  if (after?.state === 'running' && before?.state !== 'running') actions.push('start');
  if (after !== undefined && isTerminal(after.state) && !(before !== undefined && isTerminal(before.state))) {
    actions.push('die');
  }
  if (after === undefined) actions.push('destroy');
  const attributes = containerAttributes(store, change.key, container.exitCode);
  return actions.map((Action) => ({
    Type: 'container' as const,
    Action,
    Actor: { ID: container.containerId, Attributes: attributes },
    scope: 'local' as const,
  }));
}

function containerAttributes(
  store: Store,
  taskId: string,
  exitCode: number | undefined,
): Record<string, string> {
  const task = store.get('tasks', taskId);
  const service = task === undefined ? undefined : store.get('services', task.serviceId);
  const spec =
    task === undefined ? undefined : store.get('revisions', `${task.serviceId}.${task.revision}`)?.spec;
  return {
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
