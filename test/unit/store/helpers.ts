/** What the store's tests share. */
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import type { Logger } from '../../../shared/model/options.ts';
import { openStore } from '../../../manager/store/open-store.ts';
import type { OpenStore, OpenStoreOptions } from '../../../manager/store/open-store.ts';
import { TABLE_NAMES } from '../../../manager/store/store.ts';
import type { Store, Write } from '../../../manager/store/store.ts';
import type { Task } from '../../../shared/model/index.ts';
import { delay } from '../../../shared/lib/abort.ts';
import type { TestEtcd } from '../../harness/etcd.ts';

export const silent: Logger = pino({ level: process.env['SHOAL_TEST_LOG'] ?? 'silent' });

const DEADLINE_MS = 60_000;

export function within(ms = DEADLINE_MS): AbortSignal {
  return AbortSignal.timeout(ms);
}

export function open(etcd: TestEtcd, options: Partial<OpenStoreOptions> = {}): Promise<OpenStore> {
  return openStore({
    endpoints: etcd.endpoints,
    logger: silent,
    signal: new AbortController().signal,
    ...options,
  });
}

/** Waits for a condition; says which one when it never came. */
export async function eventually(t: ExecutionContext, what: string, holds: () => unknown): Promise<void> {
  const deadlineMs = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    if (Date.now() > deadlineMs) return t.fail(`never: ${what}`);
    await delay(10, within());
  }
}

export function task(id: string, overrides: Partial<Task> = {}): Task {
  return {
    id,
    serviceId: 's1',
    revision: 1,
    slot: 1,
    desired: 'running',
    createdAtMs: 1,
    desiredAtMs: 1,
    addresses: [],
    ...overrides,
  };
}

export function put(id: string, overrides: Partial<Task> = {}, expect?: number): Write {
  const write = { table: 'tasks', key: id, value: task(id, overrides) } as const;
  return expect === undefined ? write : { ...write, expect };
}

export function remove(id: string, expect?: number): Write {
  const write = { table: 'tasks', key: id, value: null } as const;
  return expect === undefined ? write : { ...write, expect };
}

/** Everything in the mirror, as `table/key` -> [version, value], sorted. */
export function contentOf(store: Store): [string, number, unknown][] {
  return TABLE_NAMES.flatMap((table) =>
    [...store.all(table)].map(([key, value]): [string, number, unknown] => [
      `${table}/${key}`,
      store.version(table, key),
      value,
    ]),
  ).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The same, read from etcd. */
export async function contentOfEtcd(etcd: TestEtcd): Promise<[string, number, unknown][]> {
  const { kvs } = await etcd.client.getAll().prefix('/shoal/v1/').exec();
  return kvs
    .map(({ key, mod_revision, value }): [string, number, unknown] => [
      key.toString().slice('/shoal/v1/'.length),
      Number(mod_revision),
      JSON.parse(value.toString()),
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}
