/**
 * PURE. How stored data comes forward from version to version: the first entry leads from 1 to 2, and so on. Entries are
 * added at the end and never changed once released.
 */

export interface Migration {
  /** For the log: what changes. */
  readonly what: string;
  /**
   * One record, as it shall be: unchanged when the migration does not concern it, undefined when it shall go. It must leave
   * a record that it has made already as it is, for a migration that was cut off is done again.
   */
  rewrite(table: string, key: string, value: unknown): unknown;
}

/** From 1 to 2. The manager that starts on it seals them: a migration has no key. */
const clusterSecrets: Migration = {
  what: "the CA's key and the secrets of the join tokens are together, to be sealed",
  rewrite: (table, _key, value) => {
    if (table !== 'cluster' || typeof value !== 'object' || value === null || !('caKeyPem' in value))
      return value;
    const { caKeyPem, joinSecrets, ...rest } = value as Record<string, unknown>;
    return { ...rest, secrets: { plain: { caKeyPem, joinSecrets } } };
  },
};

export const MIGRATIONS: readonly Migration[] = [clusterSecrets];
