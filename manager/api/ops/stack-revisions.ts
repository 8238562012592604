/** One revision a deployment: what a stack was made from, kept for the diff and the way back. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import {
  type Stack,
  STACK_REVISIONS_KEPT,
  type StackRevision,
  type StackSource,
} from '../../../shared/model/index.ts';
import { sameJson } from '../../plan/reconcile/dirty.ts';
import type { Store, Write } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';

/** etcd takes 1.5 MiB in one request. */
const SOURCE_LIMIT_BYTES = 1024 * 1024;

function keyOf(stack: string, revision: number): string {
  return `${stack}.${revision}`;
}

/** Throws InvalidError when the files are too many bytes to be kept. */
export function checkSourceSize(source: StackSource): void {
  const size = Buffer.byteLength(JSON.stringify(source));
  if (size > SOURCE_LIMIT_BYTES) {
    throw new InvalidError(
      `the stack's files and variables are ${size} bytes of JSON together: at most ${SOURCE_LIMIT_BYTES} are kept`,
    );
  }
}

/** Those that are kept, the newest first. */
export function stackRevisions(store: Store, stack: string): StackRevision[] {
  const last = store.get('stacks', stack)?.revision ?? 0;
  const found: StackRevision[] = [];
  for (let revision = last; revision > last - STACK_REVISIONS_KEPT && revision > 0; revision -= 1) {
    const record = store.get('stackRevisions', keyOf(stack, revision));
    if (record !== undefined) found.push(record);
  }
  return found;
}

export function currentRevision(store: Store, stack: string): StackRevision | undefined {
  return stackRevisions(store, stack)[0];
}

/** Without a number, the one before the last. Throws NotFoundError with those that there are. */
export function findRevision(store: Store, stack: string, revision: number | undefined): StackRevision {
  const kept = stackRevisions(store, stack);
  const found = revision === undefined ? kept[1] : kept.find((one) => one.revision === revision);
  if (found !== undefined) return found;
  if (kept.length === 0) throw new NotFoundError(`stack ${stack} has no revisions: it was not deployed here`);
  const what = revision === undefined ? 'one before the last' : String(revision);
  const list = kept.map((one) => one.revision).join(', ');
  throw new NotFoundError(`stack ${stack} has no revision ${what}; it has ${list}`);
}

/** The same source again is no new revision. Resolves with the number of the current one. */
export async function recordRevision(
  ctx: ApiContext,
  name: string,
  source: StackSource,
  signal: AbortSignal,
): Promise<number> {
  const { store } = ctx;
  const existing = store.get('stacks', name);
  const last = currentRevision(store, name);
  if (existing !== undefined && last !== undefined && sameJson(last.source, source)) return last.revision;
  const now = ctx.clock.now();
  const revision = (existing?.revision ?? 0) + 1;
  const createdAtMs = existing?.createdAtMs ?? now;
  const stack: Stack = { id: name, name, revision, createdAtMs, updatedAtMs: now };
  const id = keyOf(name, revision);
  const writes: Write[] = [
    { table: 'stacks', key: name, value: stack, expect: store.version('stacks', name) },
    { table: 'stackRevisions', key: id, value: { id, stack: name, revision, createdAtMs: now, source } },
  ];
  const dropped = keyOf(name, revision - STACK_REVISIONS_KEPT);
  if (store.get('stackRevisions', dropped) !== undefined) {
    writes.push({ table: 'stackRevisions', key: dropped, value: null });
  }
  await store.commit(writes, { signal });
  return revision;
}

/** What goes with the stack. */
export function revisionRemoval(store: Store, name: string): Write[] {
  const revisions = stackRevisions(store, name).map(
    ({ id }): Write => ({ table: 'stackRevisions', key: id, value: null }),
  );
  return [{ table: 'stacks', key: name, value: null }, ...revisions];
}
