/** Which stack an object belongs to: by the label of a service, network, secret or config; a single container's own label. */
import { type Revision, type Service, STACK_LABEL, stackOfSpec } from '../../../shared/model/index.ts';
import type { Store, TableName, Tables } from '../../store/store.ts';
import type { EventDraft } from '../events/event.ts';
import { serviceIdOf } from '../../../shared/model/index.ts';

export type Records = Pick<Store, 'get'>;

export function stackOfRevision({ spec }: Revision): string | undefined {
  return stackOfSpec(spec);
}

export function stackOfService(records: Records, service: Service): string | undefined {
  const revision = records.get('revisions', `${service.id}.${service.revision}`);
  return revision === undefined ? undefined : stackOfRevision(revision);
}

/** Undefined: of none, or there is no such record. Nodes, managers and the like are of none. */
export function stackOf<T extends TableName>(
  records: Records,
  table: T,
  value: Tables[T],
): string | undefined {
  const found = { table, value } as { [K in TableName]: { table: K; value: Tables[K] } }[TableName];
  switch (found.table) {
    case 'services':
      return stackOfService(records, found.value);
    case 'revisions':
    case 'tasks':
      return stackOfServiceId(records, found.value.serviceId);
    case 'statuses': {
      const task = records.get('tasks', found.value.taskId);
      return task === undefined ? undefined : stackOfServiceId(records, task.serviceId);
    }
    case 'networks':
    case 'secrets':
    case 'configs':
      return found.value.spec.labels[STACK_LABEL];
    case 'stacks':
      return found.value.name;
    case 'stackRevisions':
      return found.value.stack;
    default:
      return undefined;
  }
}

function stackOfServiceId(records: Records, serviceId: string): string | undefined {
  const service = records.get('services', serviceId);
  return service === undefined ? undefined : stackOfService(records, service);
}

/**
 * Of a volume by its name, as deployments give them: STACK_NAME. Of several stacks whose names fit it is the longest's: with
 * stacks `shop` and `shop_eu`, `shop_eu_data` is not shop's.
 */
export function stackOfVolume(name: string, stacks: Iterable<string>): string | undefined {
  let best: string | undefined;
  for (const stack of stacks)
    if (name.startsWith(`${stack}_`) && stack.length > (best?.length ?? 0)) best = stack;
  return best;
}

/** Of what an event is about, as the records are in that moment. */
export function stackOfEvent(records: Records, { Type, Actor }: EventDraft): string | undefined {
  const { ID: id, Attributes } = Actor;
  switch (Type) {
    case 'container': {
      const single = stackOfServiceId(records, serviceIdOf(id));
      return single ?? stackOfServiceId(records, Attributes['com.docker.swarm.service.id'] ?? '');
    }
    case 'service':
      return stackOfServiceId(records, id);
    case 'network':
      return records.get('networks', id)?.spec.labels[STACK_LABEL];
    case 'secret':
      return records.get('secrets', id)?.spec.labels[STACK_LABEL];
    case 'config':
      return records.get('configs', id)?.spec.labels[STACK_LABEL];
    default:
      return undefined;
  }
}
