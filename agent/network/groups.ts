/** PURE. Rows by a group that several share, and by their own key within it. */

export type Rows<Row> = ReadonlyMap<string, Row>;

export class Groups<Row> {
  readonly #groups = new Map<string, Map<string, Row>>();

  of(group: string): Rows<Row> {
    return this.#groups.get(group) ?? new Map();
  }

  put(group: string, key: string, row: Row): void {
    const rows = this.#groups.get(group);
    if (rows === undefined) this.#groups.set(group, new Map([[key, row]]));
    else rows.set(key, row);
  }

  drop(group: string, key: string): void {
    const rows = this.#groups.get(group);
    rows?.delete(key);
    if (rows?.size === 0) this.#groups.delete(group);
  }
}
