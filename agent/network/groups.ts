/** PURE. Rows by a group that several share, and by their own key within it. */

export type Rows<Row> = ReadonlyMap<string, Row>;

/** Most groups of names and addresses have one row: a map for each would be most of what they take. */
interface Single<Row> {
  readonly key: string;
  readonly row: Row;
}

export class Groups<Row> {
  readonly #groups = new Map<string, Map<string, Row> | Single<Row>>();

  /** Not to be kept: what comes later may be in it or not. */
  of(group: string): Rows<Row> {
    const rows = this.#groups.get(group);
    if (rows === undefined) return new Map();
    return rows instanceof Map ? rows : new Map([[rows.key, rows.row]]);
  }

  put(group: string, key: string, row: Row): void {
    const rows = this.#groups.get(group);
    if (rows instanceof Map) rows.set(key, row);
    else if (rows === undefined || rows.key === key) this.#groups.set(group, { key, row });
    else
      this.#groups.set(
        group,
        new Map([
          [rows.key, rows.row],
          [key, row],
        ]),
      );
  }

  drop(group: string, key: string): void {
    const rows = this.#groups.get(group);
    if (rows instanceof Map) {
      rows.delete(key);
      if (rows.size === 0) this.#groups.delete(group);
    } else if (rows?.key === key) this.#groups.delete(group);
  }
}
