/** The difference between two assignment sets, as data: what a manager sends and an agent applies. Pure. */
import {
  ASSIGNMENT_TABLES,
  type AssignmentSet,
  type AssignmentTable,
  type EndpointAssignment,
  type FileAssignment,
  type NetworkAssignment,
  type PeerAssignment,
  type ServiceAssignment,
  type TaskAssignment,
} from '../model/assignment.ts';
import { changedMap } from '../lib/layered-map.ts';

export interface AssignmentRows {
  tasks: TaskAssignment;
  networks: NetworkAssignment;
  endpoints: EndpointAssignment;
  services: ServiceAssignment;
  peers: PeerAssignment;
  secrets: FileAssignment;
  configs: FileAssignment;
}

/** A set as lists: how it crosses the wire. */
export type AssignmentLists = { readonly [T in AssignmentTable]: readonly AssignmentRows[T][] };
export type AssignmentPut = Partial<AssignmentLists>;
/** Keys that are no more, a list a table. */
export type AssignmentDrop = { readonly [T in AssignmentTable]?: readonly string[] };

export interface AssignmentDiff {
  readonly put: AssignmentPut;
  readonly drop: AssignmentDrop;
}

/** The key of a row in its table, as shared/model/assignment.ts defines it. */
export const assignmentKey: { readonly [T in AssignmentTable]: (row: AssignmentRows[T]) => string } = {
  tasks: (row) => row.taskId,
  networks: (row) => row.networkId,
  endpoints: (row) => `${row.networkId}/${row.taskId}`,
  services: (row) => `${row.networkId}/${row.serviceId}`,
  peers: (row) => row.nodeId,
  secrets: (row) => row.fileId,
  configs: (row) => row.fileId,
};

export const EMPTY_ASSIGNMENTS: AssignmentSet = {
  tasks: new Map(),
  networks: new Map(),
  endpoints: new Map(),
  services: new Map(),
  peers: new Map(),
  secrets: new Map(),
  configs: new Map(),
};

/** What must be put and dropped to make `before` into `after`. Rows that are equal are not in it. */
export function diffAssignments(before: AssignmentSet, after: AssignmentSet): AssignmentDiff {
  const put: Record<string, unknown[]> = {};
  const drop: Record<string, string[]> = {};
  for (const table of ASSIGNMENT_TABLES) {
    const [puts, drops] = diffTable<unknown>(before[table], after[table]);
    if (puts.length > 0) put[table] = puts;
    if (drops.length > 0) drop[table] = drops;
  }
  return { put, drop };
}

/** A new set: `set` with the difference applied. Tables that the difference does not name are shared with `set`. */
export function applyDiff(set: AssignmentSet, diff: AssignmentDiff): AssignmentSet {
  return {
    tasks: applyTable('tasks', set.tasks, diff),
    networks: applyTable('networks', set.networks, diff),
    endpoints: applyTable('endpoints', set.endpoints, diff),
    services: applyTable('services', set.services, diff),
    peers: applyTable('peers', set.peers, diff),
    secrets: applyTable('secrets', set.secrets, diff),
    configs: applyTable('configs', set.configs, diff),
  };
}

/** From which table a table was made by applyDiff, and the keys that were put or dropped; by number, so that none is kept. */
interface Origin {
  readonly table: number;
  readonly from: number;
  readonly keys: readonly string[];
}

const origins = new WeakMap<object, Origin>();
let tables = 0;

/**
 * The keys in which `after` may differ from `before`, if it is the same table or was made of it by one applyDiff. Undefined
 * when that is not known.
 */
export function changedKeys(before: object, after: object): readonly string[] | undefined {
  if (before === after) return [];
  const [old, origin] = [origins.get(before), origins.get(after)];
  return origin !== undefined && origin.from === old?.table ? origin.keys : undefined;
}

export function listsToSet(lists: AssignmentLists): AssignmentSet {
  return applyDiff(EMPTY_ASSIGNMENTS, { put: lists, drop: {} });
}

export function setToLists(set: AssignmentSet): AssignmentLists {
  return {
    tasks: [...set.tasks.values()],
    networks: [...set.networks.values()],
    endpoints: [...set.endpoints.values()],
    services: [...set.services.values()],
    peers: [...set.peers.values()],
    secrets: [...set.secrets.values()],
    configs: [...set.configs.values()],
  };
}

export function isEmptyDiff(diff: AssignmentDiff): boolean {
  return ASSIGNMENT_TABLES.every(
    (table) => (diff.put[table]?.length ?? 0) === 0 && (diff.drop[table]?.length ?? 0) === 0,
  );
}

/** Equality of plain data (what JSON can hold); a key that is undefined counts as absent. */
export function sameData(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = definedEntries(a);
  if (left.length !== definedEntries(b).length) return false;
  return left.every(([key, value]) => sameData(value, (b as Record<string, unknown>)[key]));
}

function definedEntries(value: object): [string, unknown][] {
  return Object.entries(value).filter(([, inner]) => inner !== undefined);
}

function diffTable<Row>(
  before: ReadonlyMap<string, Row>,
  after: ReadonlyMap<string, Row>,
): [put: Row[], drop: string[]] {
  const put = [...after].filter(([key, row]) => !sameData(before.get(key), row)).map(([, row]) => row);
  const drop = [...before.keys()].filter((key) => !after.has(key));
  return [put, drop];
}

function applyTable<T extends AssignmentTable>(
  table: T,
  rows: ReadonlyMap<string, AssignmentRows[T]>,
  diff: AssignmentDiff,
): ReadonlyMap<string, AssignmentRows[T]> {
  const put: readonly AssignmentRows[T][] = diff.put[table] ?? [];
  const drop = diff.drop[table] ?? [];
  if (put.length === 0 && drop.length === 0) return rows;
  const entries = put.map((row): [string, AssignmentRows[T]] => [assignmentKey[table](row), row]);
  const next = changedMap(rows, entries, drop);
  tables += 1;
  const keys = [...drop, ...entries.map(([key]) => key)];
  origins.set(next, { table: tables, from: origins.get(rows)?.table ?? -1, keys });
  return next;
}
