/** The revisions of a service that are kept, and the way back to any of them. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import type { Revision, Service, ServiceSpec, UpdateStatus } from '../../../shared/model/index.ts';
import { isJob, withSpec } from '../../../shared/model/index.ts';
import { REVISION_HISTORY } from '../../plan/reconcile/service.ts';
import type { Store } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { resolveFiles } from './files.ts';
import { revisionKey } from './service-reads.ts';
import { requirePortsFree, requireVersion, revisionWrite, writeUpdate } from './services.ts';

/** The leader deletes old ones, up to so many at a time. */
const DELETED_AT_ONCE = 20;

/** The newest first: those of the history, and older ones that a task or the service still names. */
export function keptRevisions(store: Store, service: Service): Revision[] {
  const numbers = new Set<number>();
  const oldest = Math.max(1, service.revision - REVISION_HISTORY - DELETED_AT_ONCE);
  for (let revision = service.revision; revision >= oldest; revision -= 1) numbers.add(revision);
  if (service.previousRevision !== undefined) numbers.add(service.previousRevision);
  for (const id of store.tasksOfService(service.id)) {
    const task = store.get('tasks', id);
    if (task !== undefined) numbers.add(task.revision);
  }
  return [...numbers]
    .sort((a, b) => b - a)
    .flatMap((revision) => store.get('revisions', revisionKey(service.id, revision)) ?? []);
}

/** Throws NotFoundError with the revisions that there are. */
export function findServiceRevision(store: Store, service: Service, revision: number): Revision {
  const found = store.get('revisions', revisionKey(service.id, revision));
  if (found !== undefined) return found;
  const kept = keptRevisions(store, service).map((one) => one.revision);
  throw new NotFoundError(
    `service ${service.name} has no revision ${revision}: it has ${kept.join(', ')} (the ${REVISION_HISTORY} newest are kept)`,
  );
}

export interface RollbackRequest {
  readonly version: number;
  /** Absent: the one before, as Swarm has it. */
  readonly revision?: number;
}

/**
 * Makes the spec of an earlier revision current, as a revision of its own, since numbers only grow; what was current is the
 * previous one then, as in Swarm. Resolves with the new revision's number.
 */
export async function rollbackService(
  ctx: ApiContext,
  service: Service,
  request: RollbackRequest,
  signal: AbortSignal,
): Promise<number> {
  const { store } = ctx;
  requireVersion(store, service, request.version);
  const earlier = rollbackTarget(store, service, request.revision);
  const references = (): ServiceSpec => requireReferences(store, earlier);
  references();
  requirePortsFree(store, earlier.spec, service.id);
  const atMs = ctx.clock.now();
  const revision = service.revision + 1;
  const { updateStatus: _over, ...rest } = withSpec(service, earlier.spec);
  const updateStatus: UpdateStatus = {
    state: 'rollback-started',
    startedAtMs: atMs,
    message: 'manually requested rollback',
  };
  const value: Service = {
    ...rest,
    revision,
    previousRevision: service.revision,
    updatedAtMs: atMs,
    // A job is begun anew instead.
    ...(isJob(earlier.spec.mode) ? {} : { updateStatus }),
  };
  const origin = { kind: 'rollback', of: earlier.revision, automatic: false } as const;
  const more = [revisionWrite(service.id, revision, earlier.spec, atMs, origin)];
  await writeUpdate(ctx, { version: request.version, value, more }, references, signal);
  return revision;
}

function rollbackTarget(store: Store, service: Service, asked: number | undefined): Revision {
  if (asked !== undefined) {
    if (asked !== service.revision) return findServiceRevision(store, service, asked);
    throw new InvalidError(`revision ${asked} is the current one of service ${service.name}`);
  }
  const { previousRevision } = service;
  const found =
    previousRevision === undefined
      ? undefined
      : store.get('revisions', revisionKey(service.id, previousRevision));
  if (found !== undefined) return found;
  throw new InvalidError(
    `rpc error: code = FailedPrecondition desc = service ${service.id} does not have a previous spec`,
  );
}

/** An old spec may name what was removed since. Throws InvalidError that names it. */
function requireReferences(store: Store, { revision, spec }: Revision): ServiceSpec {
  for (const { network } of spec.networks) {
    if (store.get('networks', network) !== undefined) continue;
    throw new InvalidError(
      `rpc error: code = InvalidArgument desc = network ${network} of revision ${revision} was removed`,
    );
  }
  return resolveFiles(store, spec);
}
