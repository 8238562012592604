/**
 * PURE. How stored data comes forward from version to version: the first entry leads from 1 to 2, and so on. Entries are
 * added at the end and never changed once released. While managers of the release before still run, records stay in the old
 * form: a migration leads back, too.
 */
import { ConflictError } from '../../shared/errors/index.ts';

export interface Migration {
  /** For the log: what changes. */
  readonly what: string;
  /**
   * One record, as it shall be: unchanged when the migration does not concern it. It must leave a record that it has made
   * already as it is: while a migration is under way there are both, and one that was cut off is done again.
   */
  rewrite(table: string, key: string, value: unknown): unknown;
  /**
   * The same record in the form of before, so that managers of before can read it. It must leave a record of the old form
   * as it is. Throws ConflictError, saying what has to wait, for what that form can not hold.
   */
  revert(table: string, key: string, value: unknown): unknown;
}

/** From 1 to 2. The manager that leads seals them then: a migration has no key. */
const clusterSecrets: Migration = {
  what: "the CA's key and the secrets of the join tokens are together, to be sealed",
  rewrite: (table, _key, value) => {
    if (table !== 'cluster' || !isObject(value) || !('caKeyPem' in value)) return value;
    const { caKeyPem, joinSecrets, ...rest } = value;
    return { ...rest, secrets: { plain: { caKeyPem, joinSecrets } } };
  },
  revert: (table, _key, value) => {
    if (table !== 'cluster' || !isObject(value) || !isObject(value['secrets'])) return value;
    const { secrets, ...rest } = value;
    const plain = secrets['plain'];
    if (!isObject(plain) || Object.keys(plain).some((key) => key !== 'caKeyPem' && key !== 'joinSecrets'))
      throw new ConflictError('sealed secrets of the cluster have to wait until all managers are upgraded');
    return { ...rest, ...plain };
  },
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

export const MIGRATIONS: readonly Migration[] = [clusterSecrets];
