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

export const MIGRATIONS: readonly Migration[] = [];
