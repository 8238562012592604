/** What the API does to services in the store; used by /services and by /stacks. */
import {
  ConflictError,
  InvalidError,
  NotFoundError,
  OutOfSequenceError,
} from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { Revision, RollbackOrigin, Service, ServiceSpec } from '../../../shared/model/index.ts';
import { portText } from '../../../shared/lib/published-port.ts';
import { isJob, modeFamily } from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import { type Guard, StaleError, type Store, type Write } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { checkServiceSpec } from '../validate/service-spec.ts';
import { waitForStore } from '../wait.ts';
import { fileGuards, resolveFiles } from './files.ts';
import { holderText, portHolder, shortPort } from './port-holders.ts';
import { resolveNetworks } from './networks.ts';
import { takeReplicas } from './scaled.ts';
import { currentSpec, revisionKey } from './service-reads.ts';

/** How long a creation waits for a service of the same name to be gone. A stop grace is 10 s by default. */
const REMOVAL_WAIT_MS = 120_000;
const COMMIT_ATTEMPTS = 5;

/** Stores a new service. Resolves with its id. A service of that name on its way out is waited for. */
export async function createService(
  ctx: ApiContext,
  wanted: ServiceSpec,
  signal: AbortSignal,
): Promise<string> {
  const { store } = ctx;
  requireValid(resolveSpec(store, wanted));
  for (let attempt = 1; ; attempt += 1) {
    await waitUntilFree(store, wanted, signal);
    const spec = resolveSpec(store, wanted);
    const id = newId();
    try {
      await store.commit(creation(ctx, id, spec), { guards: referenceGuards(store, spec), signal });
      return id;
    } catch (error) {
      // Someone took the name, or a network changed, in between: the next turn sees it.
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}

function creation(ctx: ApiContext, id: string, spec: ServiceSpec): Write[] {
  const atMs = ctx.clock.now();
  const name = `service:${spec.name}`;
  const service: Service = { id, name: spec.name, revision: 1, createdAtMs: atMs, updatedAtMs: atMs };
  return [
    // A name record whose service is gone is taken over.
    { table: 'names', key: name, value: { id }, expect: ctx.store.version('names', name) },
    { table: 'services', key: id, value: service, expect: 0 },
    revisionWrite(id, 1, spec, atMs),
  ];
}

/** The spec with networks, secrets and configs by id. Throws InvalidError for those that there are not. */
export function resolveSpec(store: Store, spec: ServiceSpec): ServiceSpec {
  return resolveFiles(store, resolveNetworks(store, spec));
}

/** What is deleted meanwhile must not be referred to. */
function referenceGuards(store: Store, spec: ServiceSpec): Guard[] {
  const networks = spec.networks.map(({ network }): Guard => {
    return { table: 'networks', key: network, expect: store.version('networks', network) };
  });
  return [...networks, ...fileGuards(store, spec)];
}

export function revisionWrite(
  serviceId: string,
  revision: number,
  spec: ServiceSpec,
  atMs: number,
  origin?: RollbackOrigin,
): Write {
  const key = revisionKey(serviceId, revision);
  const made: Revision = { id: key, serviceId, revision, createdAtMs: atMs, spec };
  const value = origin === undefined ? made : { ...made, origin };
  return { table: 'revisions', key, value, expect: 0 };
}

/** Throws ConflictError when a service that stays holds the name or a published port. */
async function waitUntilFree(store: Store, spec: ServiceSpec, signal: AbortSignal): Promise<void> {
  requireNameFree(store, spec.name);
  requirePortsFree(store, spec, undefined);
  const leaving = (): Service | undefined => {
    const holder = holderOf(store, spec.name);
    return holder ?? portHolder(store, spec, undefined, true)?.service;
  };
  if (leaving() === undefined) return;
  const gone = await waitForStore(store, () => leaving() === undefined, REMOVAL_WAIT_MS, signal);
  if (!gone) {
    throw new ConflictError(
      `service ${leaving()?.name ?? spec.name} is still being removed after ${REMOVAL_WAIT_MS / 1000} s: ` +
        'its tasks have not stopped',
    );
  }
  requireNameFree(store, spec.name);
}

function holderOf(store: Store, name: string): Service | undefined {
  const id = store.get('names', `service:${name}`)?.id;
  return id === undefined ? undefined : store.get('services', id);
}

function requireNameFree(store: Store, name: string): void {
  const holder = holderOf(store, name);
  if (holder === undefined || holder.removing === true) return;
  throw new ConflictError(
    `rpc error: code = AlreadyExists desc = name conflicts with an existing object: service ${name} already exists`,
  );
}

export function requirePortsFree(store: Store, spec: ServiceSpec, self: string | undefined): void {
  const taken = portHolder(store, spec, self, false);
  if (taken === undefined) return;
  const { service, wanted, held } = taken;
  const mode = held.mode === 'host' ? 'a host-published port' : 'an ingress port';
  const port = shortPort(held) === shortPort(wanted) ? '' : `, ${portText(held)}`;
  throw new InvalidError(
    `rpc error: code = InvalidArgument desc = port '${shortPort(wanted)}' is already in use by ` +
      `${holderText(service)} as ${mode}${port}`,
  );
}

function requireValid(spec: ServiceSpec): void {
  const problems = checkServiceSpec(spec);
  if (problems.length === 0) return;
  const text = problems.map((p) => (p.field === 'image' ? p.message : `${p.field}: ${p.message}`)).join('; ');
  throw new InvalidError(`rpc error: code = InvalidArgument desc = ${text}`);
}

export interface ServiceUpdate {
  readonly version: number;
  readonly spec: ServiceSpec;
  /** The client has read the service, changed something and written all of it back. */
  readonly wroteBack?: boolean;
}

/**
 * Makes `spec` current: a new revision unless nothing in it changed. Throws OutOfSequenceError when the service is not
 * at `version` any more. An update's state starts afresh, so a paused one goes on.
 */
export async function updateService(
  ctx: ApiContext,
  service: Service,
  update: ServiceUpdate,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock } = ctx;
  requireVersion(store, service, update.version);
  const atMs = clock.now();
  const current = currentSpec(store, service);
  const { wroteBack = false } = update;
  const resolved = resolveSpec(store, update.spec);
  const { spec, asked, scaled } = takeReplicas(service, current, resolved, { wroteBack, nowMs: atMs });
  if (spec.name !== service.name) {
    throw new InvalidError('rpc error: code = Unimplemented desc = renaming services is not supported');
  }
  if (modeFamily(spec.mode) !== modeFamily(current.mode)) {
    throw new InvalidError('rpc error: code = Unimplemented desc = service mode change is not allowed');
  }
  requireValid(asked);
  requirePortsFree(store, spec, service.id);
  const { updateStatus: _, scaled: _former, ...others } = service;
  const rest = scaled === undefined ? others : { ...others, scaled };
  // A job is run again by any update.
  if (sameJson(spec, current) && (!isJob(spec.mode) || spec.mode.kind === 'cron')) {
    const value = { ...rest, updatedAtMs: atMs };
    return writeUpdate(ctx, { version: update.version, value, more: [] }, () => current, signal);
  }
  const revision = service.revision + 1;
  const next: Service = { ...rest, revision, previousRevision: service.revision, updatedAtMs: atMs };
  const more = [revisionWrite(service.id, revision, spec, atMs)];
  const write = { version: update.version, value: next, more };
  await writeUpdate(ctx, write, () => resolveSpec(store, spec), signal);
}

/** Throws OutOfSequenceError. */
export function requireVersion(store: Store, service: Service, version: number): void {
  if (store.version('services', service.id) !== version) throw new OutOfSequenceError();
}

/**
 * Writes a service that must still be at `version`. `references` resolves what the spec names, and throws when that is not
 * there: it is asked again when one of them changed at the same moment.
 */
export async function writeUpdate(
  ctx: ApiContext,
  write: { readonly version: number; readonly value: Service; readonly more: readonly Write[] },
  references: () => ServiceSpec,
  signal: AbortSignal,
): Promise<void> {
  const { store } = ctx;
  const { id } = write.value;
  const put: Write = { table: 'services', key: id, value: write.value, expect: write.version };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const guards = referenceGuards(store, references());
      await store.commit([put, ...write.more], { guards, signal });
      return;
    } catch (cause) {
      if (!(cause instanceof StaleError)) throw cause;
      if (store.version('services', id) !== write.version || attempt >= COMMIT_ATTEMPTS)
        throw new OutOfSequenceError();
    }
  }
}

/** Marks the service; the leader stops its tasks, and deletes the records when the last one is gone. */
export async function removeService(ctx: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  const { store } = ctx;
  for (let attempt = 1; ; attempt += 1) {
    const service = store.get('services', id);
    if (service === undefined || service.removing === true)
      throw new NotFoundError(`service ${id} not found`);
    const value: Service = { ...service, removing: true, updatedAtMs: ctx.clock.now() };
    try {
      await store.commit([{ table: 'services', key: id, value, expect: store.version('services', id) }], {
        signal,
      });
      return;
    } catch (error) {
      // The leader wrote to the service meanwhile: the removal still holds.
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}
