import type { ServiceSpec, Task } from '../../shared/model/index.ts';
import type { Store } from '../store/store.ts';
import { sameValue } from './ops/same-value.ts';
import { revisionKey } from './ops/services.ts';

/** True when the task runs what its service asks for now: nothing that a task is made of has changed since. */
export function taskIsCurrent(store: Store, task: Task): boolean {
  const service = store.get('services', task.serviceId);
  if (service === undefined) return false;
  if (service.revision === task.revision) return true;
  const current = store.get('revisions', revisionKey(service.id, service.revision))?.spec;
  const own = store.get('revisions', revisionKey(service.id, task.revision))?.spec;
  return current !== undefined && own !== undefined && sameValue(taskPart(current), taskPart(own));
}

/** The part of a spec that makes a task: a change in the rest (labels, replicas, update) replaces none. */
function taskPart(spec: ServiceSpec): object {
  const { container, limits, reservations, restart, placement, networks, forceUpdate, logDriver, ports } =
    spec;
  const hostPorts = ports.filter((port) => port.mode === 'host');
  return { container, limits, reservations, restart, placement, networks, forceUpdate, logDriver, hostPorts };
}
