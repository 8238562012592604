/** Services that are held back until others have come to a condition, found by the names of those others. */
export class Waiters {
  /** By id: the names of the services that it waits for. */
  readonly #waits = new Map<string, readonly string[]>();
  readonly #byName = new Map<string, Set<string>>();

  /** What a plan of these services said: those among them that it did not hold back are forgotten. */
  planned(services: ReadonlySet<string> | 'all', waits: ReadonlyMap<string, readonly string[]>): void {
    for (const id of services === 'all' ? [...this.#waits.keys()] : services) this.#forget(id);
    for (const [id, names] of waits) {
      this.#forget(id);
      this.#waits.set(id, names);
      for (const name of names) this.#byName.set(name, (this.#byName.get(name) ?? new Set()).add(id));
    }
  }

  /** Those that wait for the service of this name. */
  of(name: string): Iterable<string> {
    return this.#byName.get(name) ?? [];
  }

  all(): Iterable<string> {
    return this.#waits.keys();
  }

  #forget(id: string): void {
    for (const name of this.#waits.get(id) ?? []) {
      const ids = this.#byName.get(name);
      ids?.delete(id);
      if (ids?.size === 0) this.#byName.delete(name);
    }
    this.#waits.delete(id);
  }
}
