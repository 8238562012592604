/**
 * The version of what is stored: a key beside the tables, looked at before anything else is read. A manager refuses data
 * that is newer than it knows, and brings older data forward, in the one table of migrations.ts.
 */
import { type Etcd3, GRPCGenericError, type IKeyValue } from 'etcd3';
import { z } from 'zod';
import { describeError, InvalidError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { VERSION } from '../../shared/lib/version.ts';
import type { Logger } from '../../shared/model/options.ts';
import { TABLES_PREFIX } from './keys.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import { rangePages } from './range-pages.ts';

export const SCHEMA_KEY = `${TABLES_PREFIX}schema`;
/** What data is of that was written before it had a version. */
const FIRST_VERSION = 1;
/** Records of one transaction: far below etcd's default --max-txn-ops of 128. */
const BATCH = 50;
const RETRY_MS = 200;

const recordSchema = z.object({
  version: z.number().int().positive(),
  /** The newest version of Shoal that changed it. */
  writtenBy: z.string(),
  /** A migration that was begun: it is done again from its start. */
  migratingTo: z.number().int().positive().exactOptional(),
});
type SchemaRecord = z.output<typeof recordSchema>;

export interface SchemaOptions {
  readonly client: Etcd3;
  readonly logger: Logger;
  /** Default: those of this version. For tests. */
  readonly migrations?: readonly Migration[];
}

/** The version that this manager writes. */
export const SCHEMA_VERSION = currentVersion(MIGRATIONS);

function currentVersion(migrations: readonly Migration[]): number {
  return FIRST_VERSION + migrations.length;
}

/** Somebody else is at it, or was just now: look again. */
class ContendedError extends Error {
  override readonly name = 'ContendedError';
}

/**
 * Resolves once the stored data has this manager's version; writes it where there is no data yet. Throws InvalidError,
 * saying what to do, for newer data. Of several managers that start at once one migrates and the others find it done.
 */
export async function ensureSchema(options: SchemaOptions, signal: AbortSignal): Promise<void> {
  const { client, logger, migrations = MIGRATIONS } = options;
  const current = currentVersion(migrations);
  for (;;) {
    signal.throwIfAborted();
    try {
      if (await isCurrent(client, current)) return;
      await advance(options, current, signal);
    } catch (error) {
      if (!(error instanceof ContendedError) && !(error instanceof GRPCGenericError)) throw error;
      // etcd is waited for as long as that takes, like when the store is opened.
      if (error instanceof GRPCGenericError) logger.warn({ error: describeError(error) }, 'waiting for etcd');
      await delay(RETRY_MS, signal);
    }
  }
}

async function isCurrent(client: Etcd3, current: number): Promise<boolean> {
  const { record } = await readSchema(client);
  if (record !== undefined) refuseNewer(record, current);
  return record?.version === current && record.migratingTo === undefined;
}

/** One step: writes the version of new data, or brings older data one version forward. */
async function advance(options: SchemaOptions, current: number, signal: AbortSignal): Promise<void> {
  const { client, logger, migrations = MIGRATIONS } = options;
  const { record, modRevision } = await readSchema(client);
  const version = record?.version ?? ((await hasData(client)) ? FIRST_VERSION : current);
  if (version === current) await put(client, modRevision, { version, writtenBy: VERSION });
  else await migrate(client, { version, modRevision, migrations, logger }, signal);
}

async function readSchema(
  client: Etcd3,
): Promise<{ readonly record: SchemaRecord | undefined; readonly modRevision: string }> {
  const [found] = (await client.kv.range({ key: Buffer.from(SCHEMA_KEY) })).kvs;
  if (found === undefined) return { record: undefined, modRevision: '0' };
  return { record: parseRecord(found), modRevision: found.mod_revision };
}

/** What the data has, as a backup says it. */
export async function storedSchemaVersion(client: Etcd3): Promise<number> {
  const { record } = await readSchema(client);
  return record?.version ?? FIRST_VERSION;
}

function refuseNewer(record: SchemaRecord, current: number): void {
  const version = Math.max(record.version, record.migratingTo ?? 0);
  if (version <= current) return;
  throw new InvalidError(
    `the stored data has schema version ${version}, written by Shoal ${record.writtenBy}; this is Shoal ${VERSION}, which ` +
      `knows versions up to ${current} and would damage it: start Shoal ${record.writtenBy} or a later one, or restore ` +
      'a backup that was made before the upgrade (shoal restore)',
  );
}

function parseRecord(kv: IKeyValue): SchemaRecord {
  try {
    return recordSchema.parse(JSON.parse(kv.value.toString('utf8')));
  } catch (cause) {
    throw new InvalidError(`${SCHEMA_KEY} in etcd is not what Shoal writes there`, { cause });
  }
}

async function hasData(client: Etcd3): Promise<boolean> {
  const { kvs } = await client.kv.range({
    key: Buffer.from(`${TABLES_PREFIX}cluster/self`),
    keys_only: true,
  });
  return kvs.length > 0;
}

interface Progress {
  readonly version: number;
  /** Of the schema key, as this manager wrote or read it: nobody else has taken over while it is unchanged. */
  readonly modRevision: string;
  readonly migrations: readonly Migration[];
  readonly logger: Logger;
}

/** One version forward. Killed half way it is begun again: a migration of a record that is migrated leaves it as it is. */
async function migrate(client: Etcd3, progress: Progress, signal: AbortSignal): Promise<void> {
  const { version, migrations, logger } = progress;
  const migration = migrations[version - FIRST_VERSION];
  if (migration === undefined) throw new Error(`there is no migration from schema version ${version}`);
  const begun: SchemaRecord = { version, writtenBy: VERSION, migratingTo: version + 1 };
  const claim = await put(client, progress.modRevision, begun);
  logger.info({ from: version, to: version + 1, what: migration.what }, 'migrating the stored data');
  let records = 0;
  for await (const page of rangePages(client, TABLES_PREFIX, signal)) {
    const changed = page.kvs.flatMap((kv) => changeOf(kv, migration));
    for (let at = 0; at < changed.length; at += BATCH) {
      await write(client, claim, changed.slice(at, at + BATCH));
    }
    records += changed.length;
  }
  await put(client, claim, { version: version + 1, writtenBy: VERSION });
  logger.info({ version: version + 1, records }, 'migrated the stored data');
}

interface Changed {
  readonly kv: IKeyValue;
  /** Undefined: the record goes. */
  readonly value: Buffer | undefined;
}

function changeOf(kv: IKeyValue, migration: Migration): Changed[] {
  const path = kv.key.toString('utf8').slice(TABLES_PREFIX.length);
  const slash = path.indexOf('/');
  if (slash === -1) return []; // the schema key itself
  const before = kv.value.toString('utf8');
  const after = migration.rewrite(path.slice(0, slash), path.slice(slash + 1), JSON.parse(before));
  if (after === undefined) return [{ kv, value: undefined }];
  const text = JSON.stringify(after);
  return text === before ? [] : [{ kv, value: Buffer.from(text) }];
}

/** Guarded by the claim and by each record: what another manager has changed is not overwritten. */
async function write(client: Etcd3, claim: string, changed: readonly Changed[]): Promise<void> {
  const { succeeded } = await client.kv.txn({
    compare: [
      sameVersion(Buffer.from(SCHEMA_KEY), claim),
      ...changed.map(({ kv }) => sameVersion(kv.key, kv.mod_revision)),
    ],
    success: changed.map(({ kv, value }) =>
      value === undefined
        ? { request_delete_range: { key: kv.key } }
        : { request_put: { key: kv.key, value } },
    ),
    failure: [],
  });
  if (!succeeded) throw new ContendedError('a record or the schema version changed meanwhile');
}

/** Resolves with the key's new mod_revision. */
async function put(client: Etcd3, expect: string, record: SchemaRecord): Promise<string> {
  const key = Buffer.from(SCHEMA_KEY);
  const { succeeded, header } = await client.kv.txn({
    compare: [sameVersion(key, expect)],
    success: [{ request_put: { key, value: Buffer.from(JSON.stringify(record)) } }],
    failure: [],
  });
  if (!succeeded) throw new ContendedError('the schema version changed meanwhile');
  return header.revision;
}

function sameVersion(key: Buffer, modRevision: string) {
  return { result: 'Equal', target: 'Mod', key, mod_revision: modRevision } as const;
}
