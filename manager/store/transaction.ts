/** Commits as etcd transactions: what they compare, what they write, and which of them an answer refuses. */
import type { ICompare, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import { InvalidError } from '../../shared/errors/index.ts';
import { etcdKey } from './keys.ts';
import type { Fence, Guard, Write } from './store.ts';
import { SCHEMA_KEY, type StoredSchema } from './stored-schema.ts';

/** A commit made ready to be sent, alone or with others. */
export interface Prepared {
  /** etcd keys that it writes. */
  readonly written: readonly string[];
  /** etcd keys that it only compares. */
  readonly guarded: readonly string[];
  readonly compares: readonly ICompare[];
  /** Each key that it writes: such a commit does nothing once another one has been there. */
  readonly comparesAll: boolean;
  readonly operations: readonly IRequestOp[];
  /** What the operations write, and the version of stored data that they are in the form of. */
  readonly writes: readonly Write[];
  readonly form: number;
  readonly fence: Fence | undefined;
  /** About what it adds to a request. */
  readonly bytes: number;
}

/** Of a request: protobuf tags, lengths and revisions of one operation. */
const OPERATION_OVERHEAD_BYTES = 64;

/**
 * Throws InvalidError when two writes name the same key: etcd refuses that, and the order would be lost; ConflictError for what
 * the stored data can not hold yet.
 */
export function prepare(
  writes: readonly Write[],
  guards: readonly Guard[],
  fence: Fence | undefined,
  schema: StoredSchema,
): Prepared {
  const { form } = schema;
  const written = new Set<string>();
  const guarded: string[] = [];
  const compares: ICompare[] = [];
  const operations: IRequestOp[] = [];
  let bytes = 0;
  for (const write of writes) {
    const path = etcdKey(write.table, write.key);
    if (written.has(path)) throw new InvalidError(`one commit writes ${write.table}/${write.key} twice`);
    written.add(path);
    const operation = operationOf(write, path, schema, form);
    operations.push(operation);
    bytes += path.length + (operation.request_put?.value?.length ?? 0) + OPERATION_OVERHEAD_BYTES;
    if (write.expect !== undefined) compares.push(compareVersion(path, write.expect));
  }
  for (const guard of guards) {
    const path = etcdKey(guard.table, guard.key);
    guarded.push(path);
    compares.push(compareVersion(path, guard.expect));
  }
  bytes += compares.length * OPERATION_OVERHEAD_BYTES;
  const comparesAll = writes.every(({ expect }) => expect !== undefined);
  return { written: [...written], guarded, compares, comparesAll, operations, writes, form, fence, bytes };
}

/** The same commit in the form of the moment. */
export function inFormOf(commit: Prepared, schema: StoredSchema): Prepared {
  const { form } = schema;
  if (commit.form === form) return commit;
  const operations = commit.writes.map((write) =>
    operationOf(write, etcdKey(write.table, write.key), schema, form),
  );
  return { ...commit, operations, form };
}

function operationOf(write: Write, path: string, schema: StoredSchema, form: number): IRequestOp {
  const key = Buffer.from(path);
  if (write.value === null) return { request_delete_range: { key } };
  const stored =
    form === schema.current ? write.value : schema.encode(write.table, write.key, write.value, form);
  return { request_put: { key, value: Buffer.from(JSON.stringify(stored)) } };
}

function compareVersion(path: string, version: number): ICompare {
  return { key: Buffer.from(path), target: 'Mod', result: 'Equal', mod_revision: version };
}

function fenceId(fence: Fence): string {
  return `${fence.createRevision} ${fence.key}`;
}

function fencesOf(members: readonly Prepared[]): Map<string, Fence> {
  const fences = new Map<string, Fence>();
  for (const { fence } of members) {
    if (fence !== undefined) fences.set(fenceId(fence), fence);
  }
  return fences;
}

/**
 * One transaction of all members. When it fails, its answer holds the election keys of the members' fences, and at its end the key of
 * the stored data's version. `schema` is what that key was when the members got their form; undefined: it is not there.
 */
export function transactionOf(members: readonly Prepared[], schema: string | undefined): ITxnRequest {
  const compare = members.flatMap((member) => member.compares);
  const failure: IRequestOp[] = [];
  for (const fence of fencesOf(members).values()) {
    const key = Buffer.from(fence.key);
    compare.push({ key, target: 'Create', result: 'Equal', create_revision: fence.createRevision });
    failure.push({ request_range: { key, keys_only: true } });
  }
  if (schema !== undefined) {
    const key = Buffer.from(SCHEMA_KEY);
    compare.push({ key, target: 'Mod', result: 'Equal', mod_revision: schema });
    failure.push({ request_range: { key, keys_only: true } });
  }
  return { compare, success: members.flatMap((member) => member.operations), failure };
}

/** True when an unsuccessful answer shows that the stored data has another form than the members. */
export function otherForm(schema: string | undefined, response: ITxnResponse): boolean {
  return schema !== undefined && response.responses.at(-1)?.response_range?.kvs[0]?.mod_revision !== schema;
}

/** The members whose fence an unsuccessful answer shows to be broken. */
export function fencedMembers(members: readonly Prepared[], response: ITxnResponse): ReadonlySet<Prepared> {
  const broken = new Set<string>();
  [...fencesOf(members)].forEach(([id, fence], index) => {
    const kv = response.responses[index]?.response_range?.kvs[0];
    if (kv?.create_revision !== fence.createRevision) broken.add(id);
  });
  return new Set(members.filter(({ fence }) => fence !== undefined && broken.has(fenceId(fence))));
}

/** True when a successful answer made events, so that the watch will bring its revision. */
export function madeEvents(response: ITxnResponse): boolean {
  return response.responses.some((one) => {
    if (one.response_put) return true;
    return Number(one.response_delete_range?.deleted ?? 0) > 0;
  });
}
