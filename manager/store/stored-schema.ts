/**
 * The form that the stored data has, as this manager knows it: a key beside the tables, which its mirror follows. Data of an
 * older form is read and written as it is, and looks like that of today to all that use the store, until it is brought
 * forward (migrate.ts). What a manager writes compares the key, so nobody writes a form that is not the one of the moment.
 */
import type { IKeyValue } from 'etcd3';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { TABLES_PREFIX } from './keys.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';

export const SCHEMA_KEY = `${TABLES_PREFIX}schema`;
/** What data is of that was written before it had a version. */
export const FIRST_VERSION = 1;

const recordSchema = z.object({
  version: z.number().int().positive(),
  /** The newest version of Shoal that changed it. */
  writtenBy: z.string(),
  /** A migration that was begun: records have either form, and are written in this one. */
  migratingTo: z.number().int().positive().exactOptional(),
});
export type SchemaRecord = z.output<typeof recordSchema>;

export function currentVersion(migrations: readonly Migration[]): number {
  return FIRST_VERSION + migrations.length;
}

/** The version that this release knows. */
export const SCHEMA_VERSION = currentVersion(MIGRATIONS);

/** Throws InvalidError. */
export function parseSchema(text: string): SchemaRecord {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new InvalidError(`${SCHEMA_KEY} in etcd is not what Shoal writes there`, { cause });
  }
}

/** Throws InvalidError, saying what to do, for data that this release does not know. */
export function refuseNewer(record: SchemaRecord, current: number): void {
  const version = Math.max(record.version, record.migratingTo ?? 0);
  if (version <= current) return;
  throw new InvalidError(
    `the stored data has schema version ${version}, written by Shoal ${record.writtenBy}; this is Shoal ${VERSION}, which ` +
      `knows versions up to ${current} and would damage it: start Shoal ${record.writtenBy} or a later one, or restore ` +
      'a backup that was made before the upgrade (shoal restore)',
  );
}

export class StoredSchema {
  readonly #migrations: readonly Migration[];
  readonly #current: number;
  /** Resolves when the data has come to a form that this manager must not touch. */
  readonly outgrown: Promise<Error>;
  readonly #outgrow: (why: Error) => void;
  #refusal: Error | undefined;
  #record: SchemaRecord | undefined;
  #modRevision = '0';

  constructor(migrations: readonly Migration[] = MIGRATIONS) {
    this.#migrations = migrations;
    this.#current = currentVersion(migrations);
    const { promise, resolve } = withResolvers<Error>();
    this.outgrown = promise;
    this.#outgrow = resolve;
  }

  /** The key as etcd has it; undefined: it is not there, and the data is taken for that of today. */
  see(kv: Pick<IKeyValue, 'value' | 'mod_revision'> | undefined): void {
    this.#modRevision = kv?.mod_revision ?? '0';
    try {
      this.#record = kv === undefined ? undefined : parseSchema(kv.value.toString());
      if (this.#record !== undefined) refuseNewer(this.#record, this.#current);
      this.#refusal = undefined;
    } catch (error) {
      this.#refusal = error as Error;
      this.#outgrow(this.#refusal);
    }
  }

  /** What a transaction must compare; undefined when there is no key. Throws what `outgrown` resolves with. */
  get guard(): string | undefined {
    if (this.#refusal !== undefined) throw this.#refusal;
    return this.#record === undefined ? undefined : this.#modRevision;
  }

  /** The version that all records have at least. */
  get version(): number {
    return this.#record?.version ?? this.#current;
  }

  /** The version that is written at the moment. */
  get form(): number {
    return this.#record?.migratingTo ?? this.version;
  }

  /** The version that this release would have. */
  get current(): number {
    return this.#current;
  }

  /** True when there is nothing to bring forward. */
  get settled(): boolean {
    return this.version === this.#current && this.#record?.migratingTo === undefined;
  }

  /** A stored record as this release knows it. */
  decode(table: string, key: string, stored: unknown): unknown {
    if (this.settled) return stored;
    return this.#migrations
      .slice(this.version - FIRST_VERSION)
      .reduce((value, migration) => migration.rewrite(table, key, value), stored);
  }

  /** A record as it is stored in the form `form`. Throws ConflictError for what that form can not hold. */
  encode(table: string, key: string, value: unknown, form: number): unknown {
    return this.#migrations
      .slice(form - FIRST_VERSION)
      .reduceRight((newer, migration) => migration.revert(table, key, newer), value);
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((done) => void (resolve = done));
  return { promise, resolve };
}
