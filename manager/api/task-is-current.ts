import type { Task } from '../../shared/model/index.ts';
import { isJob } from '../../shared/model/index.ts';
import { specOutdated } from '../plan/reconcile/dirty.ts';
import type { Store } from '../store/store.ts';
import { revisionKey } from './ops/service-reads.ts';

/** True when the task runs what its service asks for now: an update would not replace it. */
export function taskIsCurrent(store: Store, task: Task): boolean {
  const service = store.get('services', task.serviceId);
  if (service === undefined) return false;
  if (service.revision === task.revision) return true;
  const want = store.get('revisions', revisionKey(service.id, service.revision))?.spec;
  const have = store.get('revisions', revisionKey(service.id, task.revision))?.spec;
  if (want !== undefined && isJob(want.mode)) return false;
  return want !== undefined && have !== undefined && !specOutdated(have, want);
}
