/** What reconcile decided for a service itself, rather than for a slot of it. */
import { assertNever } from '../../shared/lib/assert-never.ts';
import type { Service } from '../../shared/model/index.ts';
import { withSpec } from '../../shared/model/index.ts';
import type { Planning } from './plan.ts';
import type { ServiceAction } from './reconcile/actions.ts';
import { revisionKey } from './states.ts';

/** Returns the service as it is then; what concerns other records is drafted within the unit. */
export function applyToService(
  planning: Planning,
  unit: string,
  service: Service,
  action: ServiceAction,
): Service {
  const { draft, view, now } = planning;
  const { id } = service;
  switch (action.kind) {
    case 'set-update-status':
      return { ...service, updateStatus: action.status };
    case 'rollback':
      return rollBack(planning, unit, service, action);
    case 'release':
      return { ...service, released: true };
    case 'scale':
      return { ...service, scaled: action.scaled };
    case 'delete-revision':
      draft.put(unit, 0, 'revisions', revisionKey(id, action.revision), null);
      return service;
    case 'delete-service':
      for (const key of revisionKeys(view, service)) draft.put(unit, 0, 'revisions', key, null);
      draft.put(unit, 0, 'services', id, null);
      if (view.version('names', nameKey(service)) > 0) draft.drop(unit, 0, 'names', nameKey(service));
      return service;
    case 'remove-service':
      return { ...service, removing: true, updatedAtMs: now };
    default:
      return assertNever(action);
  }
}

/** The earlier spec becomes a new revision, so that numbers only grow. A rollback is never rolled back. */
function rollBack(
  { view, draft, now }: Planning,
  unit: string,
  service: Service,
  { toRevision, message }: Extract<ServiceAction, { kind: 'rollback' }>,
): Service {
  const { previousRevision: _forgotten, ...rest } = service;
  const earlier = view.revisions.get(revisionKey(rest.id, toRevision));
  if (earlier === undefined) return service;
  const revision = rest.revision + 1;
  const key = revisionKey(rest.id, revision);
  const origin = { kind: 'rollback', of: toRevision, automatic: true } as const;
  draft.put(unit, 0, 'revisions', key, { ...earlier, id: key, revision, createdAtMs: now, origin });
  return {
    ...withSpec(rest, earlier.spec),
    revision,
    updatedAtMs: now,
    updateStatus: { state: 'rollback-started', startedAtMs: now, message },
  };
}

/** A service and a container may have the same name. */
function nameKey({ name, run }: Service): string {
  return `${run === undefined ? 'service' : 'container'}:${name}`;
}

/** Keys of all revisions that exist. */
function revisionKeys({ revisions }: Planning['view'], { id, revision }: Service): string[] {
  const keys: string[] = [];
  for (let number = 1; number <= revision; number += 1) {
    const key = revisionKey(id, number);
    if (revisions.has(key)) keys.push(key);
  }
  return keys;
}
