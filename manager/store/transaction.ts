/** Commits as etcd transactions: what they compare, what they write, and which of them an answer refuses. */
import type { ICompare, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import { InvalidError } from '../../shared/errors/index.ts';
import { etcdKey } from './keys.ts';
import type { Fence, Guard, Write } from './store.ts';

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
  readonly fence: Fence | undefined;
  /** About what it adds to a request. */
  readonly bytes: number;
}

/** Of a request: protobuf tags, lengths and revisions of one operation. */
const OPERATION_OVERHEAD_BYTES = 64;

/** Throws InvalidError when two writes name the same key: etcd refuses that, and the order would be lost. */
export function prepare(writes: readonly Write[], guards: readonly Guard[], fence?: Fence): Prepared {
  const written = new Set<string>();
  const guarded: string[] = [];
  const compares: ICompare[] = [];
  const operations: IRequestOp[] = [];
  let bytes = 0;
  for (const write of writes) {
    const path = etcdKey(write.table, write.key);
    if (written.has(path)) throw new InvalidError(`one commit writes ${write.table}/${write.key} twice`);
    written.add(path);
    const operation = operationOf(write, path);
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
  return { written: [...written], guarded, compares, comparesAll, operations, fence, bytes };
}

function operationOf(write: Write, path: string): IRequestOp {
  const key = Buffer.from(path);
  if (write.value === null) return { request_delete_range: { key } };
  return { request_put: { key, value: Buffer.from(JSON.stringify(write.value)) } };
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

/** One transaction of all members. When it fails, its answer holds the election keys of the members' fences. */
export function transactionOf(members: readonly Prepared[]): ITxnRequest {
  const compare = members.flatMap((member) => member.compares);
  const failure: IRequestOp[] = [];
  for (const fence of fencesOf(members).values()) {
    const key = Buffer.from(fence.key);
    compare.push({ key, target: 'Create', result: 'Equal', create_revision: fence.createRevision });
    failure.push({ request_range: { key, keys_only: true } });
  }
  return { compare, success: members.flatMap((member) => member.operations), failure };
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
