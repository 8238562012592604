/**
 * The version of what is stored, looked at before anything else is read when a manager starts. It refuses data that is newer
 * than it knows; older data it works with as it is, until all managers are of its release (migrate.ts).
 */
import { type Etcd3, GRPCGenericError } from 'etcd3';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { VERSION } from '../../shared/lib/version.ts';
import type { Logger } from '../../shared/model/options.ts';
import { TABLES_PREFIX } from './keys.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import {
  currentVersion,
  FIRST_VERSION,
  parseSchema,
  refuseNewer,
  SCHEMA_KEY,
  type SchemaRecord,
} from './stored-schema.ts';

const RETRY_MS = 200;

export interface SchemaOptions {
  readonly client: Etcd3;
  readonly logger: Logger;
  /** Default: those of this release. For tests. */
  readonly migrations?: readonly Migration[];
}

/** Somebody else is at it, or was just now: look again. */
export class ContendedError extends Error {
  override readonly name = 'ContendedError';
}

/**
 * Resolves once the stored data says which version it has; writes it where there is no data yet, or data of before there was one.
 * Throws InvalidError, saying what to do, for newer data.
 */
export async function ensureSchema(options: SchemaOptions, signal: AbortSignal): Promise<void> {
  const { client, logger, migrations = MIGRATIONS } = options;
  const current = currentVersion(migrations);
  for (;;) {
    signal.throwIfAborted();
    try {
      const { record, modRevision } = await readSchema(client);
      if (record !== undefined) return refuseNewer(record, current);
      const version = (await hasData(client)) ? FIRST_VERSION : current;
      return void (await putSchema(client, modRevision, { version, writtenBy: VERSION }));
    } catch (error) {
      if (!(error instanceof ContendedError) && !(error instanceof GRPCGenericError)) throw error;
      // etcd is waited for as long as that takes, like when the store is opened.
      if (error instanceof GRPCGenericError) logger.warn({ error: describeError(error) }, 'waiting for etcd');
      await delay(RETRY_MS, signal);
    }
  }
}

export async function readSchema(
  client: Etcd3,
): Promise<{ readonly record: SchemaRecord | undefined; readonly modRevision: string }> {
  const [found] = (await client.kv.range({ key: Buffer.from(SCHEMA_KEY) })).kvs;
  if (found === undefined) return { record: undefined, modRevision: '0' };
  return { record: parseSchema(found.value.toString('utf8')), modRevision: found.mod_revision };
}

/** What the data has, as a backup says it. */
export async function storedSchemaVersion(client: Etcd3): Promise<number> {
  const { record } = await readSchema(client);
  return Math.max(record?.version ?? FIRST_VERSION, record?.migratingTo ?? 0);
}

async function hasData(client: Etcd3): Promise<boolean> {
  const { kvs } = await client.kv.range({
    key: Buffer.from(`${TABLES_PREFIX}cluster/self`),
    keys_only: true,
  });
  return kvs.length > 0;
}

/** A key that must still be as it was: its mod_revision, `0` for absent. */
export type Unchanged = readonly [key: string, modRevision: string | number];

/** Resolves with the key's new mod_revision. Throws ContendedError when it, or another of the keys, has changed meanwhile. */
export async function putSchema(
  client: Etcd3,
  expect: string,
  record: SchemaRecord,
  unchanged: readonly Unchanged[] = [],
): Promise<string> {
  const key = Buffer.from(SCHEMA_KEY);
  const { succeeded, header } = await client.kv.txn({
    compare: [[SCHEMA_KEY, expect] as const, ...unchanged].map(compareUnchanged),
    success: [{ request_put: { key, value: Buffer.from(JSON.stringify(record)) } }],
    failure: [],
  });
  if (!succeeded) throw new ContendedError('the schema version, or who is a manager, changed meanwhile');
  return header.revision;
}

export function compareUnchanged([key, modRevision]: Unchanged) {
  return { result: 'Equal', target: 'Mod', key: Buffer.from(key), mod_revision: modRevision } as const;
}
