/** What the API does to secrets and configs in the store; used by /secrets, /configs and /stacks. */
import { ConflictError, InvalidError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import {
  type FileReference,
  isTerminal,
  type Service,
  type ServiceSpec,
  type StoredFile,
  type StoredFileKind,
  type StoredFileSpec,
} from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import { wholeStore } from '../access/limited-store.ts';
import { type Guard, StaleError, type Store, type Write } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { lookup } from '../lookup.ts';
import { fileProblem } from '../validate/files.ts';
import { removeReferable } from './removal.ts';
import { liveServices, specOf } from './service-reads.ts';

export const FILE_KINDS = ['secret', 'config'] as const satisfies readonly StoredFileKind[];
const COMMIT_ATTEMPTS = 5;

export function tableOf(kind: StoredFileKind): 'secrets' | 'configs' {
  return kind === 'secret' ? 'secrets' : 'configs';
}

/** By id, name or unique prefix. */
export function findFile(store: Store, kind: StoredFileKind, ref: string): StoredFile {
  return lookup(store.all(tableOf(kind)).values(), ref, {
    kind,
    id: (file) => file.id,
    name: (file) => file.spec.name,
  });
}

/** The newest version of that name. */
export function fileNamed(store: Store, kind: StoredFileKind, name: string): StoredFile | undefined {
  const id = store.get('names', `${kind}:${name}`)?.id;
  return id === undefined ? undefined : store.get(tableOf(kind), id);
}

export function openFile(ctx: ApiContext, kind: StoredFileKind, file: StoredFile): Buffer {
  return ctx.vault.open(kind, file.id, file.sealed);
}

/** Throws InvalidError. */
export function requireFile(kind: StoredFileKind, spec: StoredFileSpec, data: Buffer): void {
  const problem = fileProblem(kind, spec, data);
  if (problem !== undefined) throw new InvalidError(`rpc error: code = InvalidArgument desc = ${problem}`);
}

/** Resolves with the id. */
export async function createFile(
  ctx: ApiContext,
  kind: StoredFileKind,
  file: { readonly spec: StoredFileSpec; readonly data: Buffer },
  signal: AbortSignal,
): Promise<string> {
  const { store } = ctx;
  const { spec, data } = file;
  requireFile(kind, spec, data);
  for (let attempt = 1; ; attempt += 1) {
    if (fileNamed(store, kind, spec.name) !== undefined) {
      throw new ConflictError(`rpc error: code = AlreadyExists desc = ${kind} ${spec.name} already exists`);
    }
    const id = newId();
    const name = `${kind}:${spec.name}`;
    const writes: Write[] = [
      { table: 'names', key: name, value: { id }, expect: store.version('names', name) },
      putFile(ctx, kind, { id, spec, version: 1 }, data),
    ];
    try {
      await store.commit(writes, { signal });
      return id;
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= COMMIT_ATTEMPTS) throw error;
    }
  }
}

function putFile(
  ctx: ApiContext,
  kind: StoredFileKind,
  file: Pick<StoredFile, 'id' | 'spec' | 'version'>,
  data: Buffer,
): Write {
  const atMs = ctx.clock.now();
  const sealed = ctx.vault.seal(kind, file.id, data);
  const value: StoredFile = { ...file, createdAtMs: atMs, updatedAtMs: atMs, sealed };
  return { table: tableOf(kind), key: file.id, value, expect: 0 };
}

/** Labels only, as in Swarm. Throws InvalidError for anything else, and for a version that is not the current one. */
export async function updateFile(
  ctx: ApiContext,
  kind: StoredFileKind,
  file: StoredFile,
  update: { readonly version: number; readonly spec: StoredFileSpec; readonly data: Buffer | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { spec, data } = update;
  const changed =
    spec.name !== file.spec.name ||
    (spec.templating !== undefined && spec.templating !== file.spec.templating) ||
    (data !== undefined && data.length > 0 && !data.equals(openFile(ctx, kind, file)));
  if (changed) {
    throw new InvalidError('rpc error: code = InvalidArgument desc = only updates to Labels are allowed');
  }
  const value = { ...file, spec: { ...file.spec, labels: spec.labels }, updatedAtMs: ctx.clock.now() };
  try {
    const write: Write = { table: tableOf(kind), key: file.id, value, expect: update.version };
    await ctx.store.commit([write], { signal });
  } catch (error) {
    if (!(error instanceof StaleError)) throw error;
    // Swarm's whole text: clients compare it.
    throw new InvalidError('rpc error: code = InvalidArgument desc = update out of sequence');
  }
}

/**
 * Makes `spec` and `data` what the name stands for, as a deployed stack has it. The same again writes nothing; other
 * labels are written in place; other contents are a new record, the next version, which takes the name over while the
 * one before is kept as NAME.vN for those who still use it. Resolves with what was done, and the id.
 */
export async function putVersion(
  ctx: ApiContext,
  kind: StoredFileKind,
  file: { readonly spec: StoredFileSpec; readonly data: Buffer },
  signal: AbortSignal,
): Promise<{ readonly id: string; readonly action: 'created' | 'updated' | 'unchanged' }> {
  const { store } = ctx;
  const { spec, data } = file;
  const existing = fileNamed(store, kind, spec.name);
  if (existing === undefined) return { id: await createFile(ctx, kind, file, signal), action: 'created' };
  requireFile(kind, spec, data);
  const table = tableOf(kind);
  const { id } = existing;
  const expect = store.version(table, id);
  const same = existing.spec.templating === spec.templating && openFile(ctx, kind, existing).equals(data);
  if (same && sameJson(existing.spec.labels, spec.labels)) return { id, action: 'unchanged' };
  if (same) {
    const update = { version: expect, spec, data: undefined };
    await updateFile(ctx, kind, existing, update, signal);
    return { id, action: 'updated' };
  }
  const old = { ...existing.spec, name: nameOfOld(store, kind, existing) };
  const next = { id: newId(), spec, version: existing.version + 1 };
  const names = { now: `${kind}:${spec.name}`, old: `${kind}:${old.name}` };
  await store.commit(
    [
      {
        table,
        key: id,
        value: { ...existing, spec: old, replaced: true, updatedAtMs: ctx.clock.now() },
        expect,
      },
      putFile(ctx, kind, next, data),
      { table: 'names', key: names.now, value: { id: next.id }, expect: store.version('names', names.now) },
      { table: 'names', key: names.old, value: { id }, expect: 0 },
    ],
    { signal },
  );
  return { id: next.id, action: 'updated' };
}

/** Throws InvalidError while a service uses it, with the services' names, as Swarm does. */
export async function removeFile(
  ctx: ApiContext,
  kind: StoredFileKind,
  file: StoredFile,
  signal: AbortSignal,
): Promise<void> {
  const { store } = ctx;
  requireUnused(store, kind, file);
  const name = `${kind}:${file.spec.name}`;
  const more: Write[] =
    store.get('names', name)?.id === file.id ? [{ table: 'names', key: name, value: null }] : [];
  const unused = (): void => requireUnused(store, kind, file);
  await removeReferable(store, tableOf(kind), file.id, { requireUnused: unused, more }, signal);
}

function requireUnused(store: Store, kind: StoredFileKind, file: StoredFile): void {
  const users = usersOf(store, kind, file.id, false).map((service) => service.name);
  if (users.length === 0) return;
  const word = users.length === 1 ? 'service' : 'services';
  throw new InvalidError(
    `rpc error: code = InvalidArgument desc = ${kind} '${file.spec.name}' is in use by the following ${word}: ` +
      users.sort().join(', '),
  );
}

/** NAME.vN; a number that is taken (by a user's own, or from before the name was made anew) is passed over. */
function nameOfOld(store: Store, kind: StoredFileKind, file: StoredFile): string {
  for (let version = file.version; ; version += 1) {
    const name = `${file.spec.name}.v${version}`;
    if (store.version('names', `${kind}:${name}`) === 0) return name;
  }
}

/**
 * Services that use it by their current revision, or by one that still has tasks; with `previous`, also those that
 * would by a rollback. A service that is being removed uses nothing any more: its containers have what they have.
 */
export function usersOf(seen: Store, kind: StoredFileKind, id: string, previous: boolean): Service[] {
  const store = wholeStore(seen);
  return [...liveServices(store)].filter((service) => {
    const revisions = new Set([service.revision, ...revisionsAlive(store, service.id)]);
    if (previous && service.previousRevision !== undefined) revisions.add(service.previousRevision);
    return [...revisions].some((revision) =>
      specOf(store, service, revision)?.container[tableOf(kind)]?.some((one) => one.id === id),
    );
  });
}

function revisionsAlive(store: Store, serviceId: string): number[] {
  return [...store.tasksOfService(serviceId)].flatMap((id) => {
    const task = store.get('tasks', id);
    const state = store.get('statuses', id)?.state ?? 'new';
    return task === undefined || isTerminal(state) ? [] : [task.revision];
  });
}

/** The spec with its secrets and configs named by id and name. Throws InvalidError that names those there are not. */
export function resolveFiles(store: Store, spec: ServiceSpec): ServiceSpec {
  const { container } = spec;
  const resolved = FILE_KINDS.flatMap((kind) => {
    const references = container[tableOf(kind)];
    return references === undefined ? [] : [[tableOf(kind), resolveAll(store, kind, references)] as const];
  });
  if (resolved.length === 0) return spec;
  return { ...spec, container: { ...container, ...Object.fromEntries(resolved) } };
}

function resolveAll(
  store: Store,
  kind: StoredFileKind,
  references: readonly FileReference[],
): FileReference[] {
  const missing: string[] = [];
  const resolved = references.flatMap((reference) => {
    const { id, name } = reference;
    const file = id === '' ? fileNamed(store, kind, name) : store.get(tableOf(kind), id);
    if (file === undefined || file.removing === true) missing.push(name === '' ? id : name);
    // An older version goes by the name that the service knows it by.
    return file === undefined
      ? []
      : [{ ...reference, id: file.id, name: name === '' ? file.spec.name : name }];
  });
  if (missing.length > 0) {
    const word = missing.length === 1 ? kind : `${kind}s`;
    throw new InvalidError(
      `rpc error: code = InvalidArgument desc = ${word} not found: ${missing.join(', ')}`,
    );
  }
  return resolved;
}

/** A secret or config that is deleted meanwhile must not be referred to. */
export function fileGuards(store: Store, spec: ServiceSpec): Guard[] {
  const guards = new Map<string, Guard>();
  for (const kind of FILE_KINDS) {
    const table = tableOf(kind);
    for (const { id } of spec.container[table] ?? []) {
      guards.set(`${table}/${id}`, { table, key: id, expect: store.version(table, id) });
    }
  }
  return [...guards.values()];
}
