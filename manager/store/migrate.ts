/**
 * Brings stored data forward to this release's version, while managers work with it: they read either form meanwhile, and write
 * the new one from the moment that a migration has begun. It begins only when no manager of an older release is left: all of
 * them say in their records which version they know, and the step that begins it compares those records.
 */
import type { Etcd3, IKeyValue } from 'etcd3';
import { VERSION } from '../../shared/lib/version.ts';
import type { ManagerRecord } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { etcdKey, TABLES_PREFIX } from './keys.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import { rangePages } from './range-pages.ts';
import { compareUnchanged, ContendedError, putSchema, readSchema, type Unchanged } from './schema.ts';
import type { Store } from './store.ts';
import { currentVersion, FIRST_VERSION, refuseNewer, SCHEMA_KEY } from './stored-schema.ts';

/** Records of one transaction: with the comparison of the version far below etcd's default --max-txn-ops of 128. */
const BATCH = 50;

export interface MigrateOptions {
  readonly client: Etcd3;
  readonly store: Pick<Store, 'all' | 'version'>;
  /** Before the first record is changed. When it rejects, nothing is. */
  readonly backUp: (version: number, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
  /** Default: those of this release. For tests. */
  readonly migrations?: readonly Migration[];
}

/** Managers that do not know this version, or have not said that they do: one that stopped counts until it is removed. */
export function holdingBack(managers: Iterable<ManagerRecord>, version: number): ManagerRecord[] {
  return [...managers].filter(({ schemaVersion = FIRST_VERSION }) => schemaVersion < version);
}

/**
 * Resolves with the managers that it has to wait for, none when the data is of today. Throws ContendedError when another manager is
 * at it: it can be called again, as after a manager that was killed half way.
 */
export async function bringForward(
  options: MigrateOptions,
  signal: AbortSignal,
): Promise<readonly ManagerRecord[]> {
  const { client, store, backUp, migrations = MIGRATIONS } = options;
  const current = currentVersion(migrations);
  for (let backedUp = false; ; backedUp = true) {
    const { record, modRevision } = await readSchema(client);
    if (record === undefined) throw new ContendedError('the stored data does not say its version');
    refuseNewer(record, current);
    const { version, migratingTo } = record;
    if (version === current && migratingTo === undefined) return [];
    const managers = store.all('managers');
    const waitsFor = holdingBack(managers.values(), current);
    if (waitsFor.length > 0) return waitsFor;
    if (migratingTo === undefined && !backedUp) await backUp(version, signal);
    signal.throwIfAborted();
    const unchanged = [...managers.keys()].map(
      (id) => [etcdKey('managers', id), store.version('managers', id)] as const,
    );
    await migrate({ ...options, migrations }, version, { modRevision, unchanged }, signal);
  }
}

/** One version forward. */
async function migrate(
  { client, logger, migrations }: MigrateOptions & { readonly migrations: readonly Migration[] },
  version: number,
  seen: { readonly modRevision: string; readonly unchanged: readonly Unchanged[] },
  signal: AbortSignal,
): Promise<void> {
  const migration = migrations[version - FIRST_VERSION];
  if (migration === undefined) throw new Error(`there is no migration from schema version ${version}`);
  const begun = { version, writtenBy: VERSION, migratingTo: version + 1 };
  const claim = await putSchema(client, seen.modRevision, begun, seen.unchanged);
  logger.info({ from: version, to: version + 1, what: migration.what }, 'migrating the stored data');
  let records = 0;
  for await (const page of rangePages(client, TABLES_PREFIX, signal)) {
    for (let at = 0; at < page.kvs.length; at += BATCH) {
      records += await rewriteBatch(client, claim, page.kvs.slice(at, at + BATCH), migration, signal);
    }
  }
  await putSchema(client, claim, { version: version + 1, writtenBy: VERSION });
  logger.info({ version: version + 1, records }, 'migrated the stored data');
}

/** What others have changed meanwhile is read again, for it is of the new form then. */
async function rewriteBatch(
  client: Etcd3,
  claim: string,
  batch: readonly IKeyValue[],
  migration: Migration,
  signal: AbortSignal,
): Promise<number> {
  for (let kvs = batch; ; kvs = await readAgain(client, claim, kvs)) {
    signal.throwIfAborted();
    const changed = kvs.flatMap((kv) => changeOf(kv, migration));
    if (changed.length === 0) return 0;
    const { succeeded } = await client.kv.txn({
      compare: [
        compareUnchanged([SCHEMA_KEY, claim]),
        ...changed.map(({ kv }) => compareUnchanged([kv.key.toString('utf8'), kv.mod_revision])),
      ],
      success: changed.map(({ kv, value }) => ({ request_put: { key: kv.key, value } })),
      failure: [],
    });
    if (succeeded) return changed.length;
  }
}

async function readAgain(client: Etcd3, claim: string, kvs: readonly IKeyValue[]): Promise<IKeyValue[]> {
  if ((await readSchema(client)).modRevision !== claim)
    throw new ContendedError('another manager has taken over');
  const read = await Promise.all(kvs.map(({ key }) => client.kv.range({ key })));
  return read.flatMap((answer) => answer.kvs);
}

function changeOf(kv: IKeyValue, migration: Migration): { readonly kv: IKeyValue; readonly value: Buffer }[] {
  const path = kv.key.toString('utf8').slice(TABLES_PREFIX.length);
  const slash = path.indexOf('/');
  if (slash === -1) return []; // the schema key itself
  const before = kv.value.toString('utf8');
  const value = parseObject(before);
  if (value === undefined) return []; // not ours: the mirror leaves it alone, too
  const text = JSON.stringify(migration.rewrite(path.slice(0, slash), path.slice(slash + 1), value));
  return text === before ? [] : [{ kv, value: Buffer.from(text) }];
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
