/** Where things are in etcd. */
import { TABLE_NAMES } from './store.ts';
import type { TableName } from './store.ts';

export const TABLES_PREFIX = '/shoal/v1/';
export const ELECTION_PREFIX = '/shoal/v1-election/';

const KNOWN: ReadonlySet<string> = new Set(TABLE_NAMES);

export function etcdKey(table: TableName, key: string): string {
  return `${TABLES_PREFIX}${table}/${key}`;
}

/** The table and key that an etcd key names; undefined for one that this version does not know. */
export function parseEtcdKey(path: string): { table: TableName; key: string } | undefined {
  if (!path.startsWith(TABLES_PREFIX)) return undefined;
  const slash = path.indexOf('/', TABLES_PREFIX.length);
  if (slash === -1) return undefined;
  const table = path.slice(TABLES_PREFIX.length, slash);
  if (!KNOWN.has(table)) return undefined;
  return { table: table as TableName, key: path.slice(slash + 1) };
}

/** The end of the range of all keys that start with `prefix` (etcd API: the prefix with its last byte plus one). */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end.writeUInt8(end.readUInt8(last) + 1, last);
  return end;
}
