/**
 * PURE. How often each object of a scope is asked for. Several endpoints and services ask for the same ones (a neighbour for
 * all endpoints of a node, a chain for all VIPs with as many backends), and the object stays until the last has gone.
 */
import { type KernelObject, keyOf } from './kernel-object.ts';

export class ScopeCount {
  readonly #counts = new Map<string, number>();
  #base: readonly KernelObject[] = [];

  /**
   * Takes `before` and puts `after`, and with `base` another base in place of the last one, of which objects that are the
   * very same are not looked at. Gives what may have changed: undefined for what nothing asks for any more.
   */
  exchange(
    before: readonly KernelObject[],
    after: readonly KernelObject[],
    base?: readonly KernelObject[],
  ): Map<string, KernelObject | undefined> {
    const touched = new Map<string, KernelObject | undefined>();
    const bases = base === undefined ? { added: [], taken: [] } : difference(this.#base, base);
    if (base !== undefined) this.#base = base;
    for (const list of [bases.added, after]) {
      for (const object of list) {
        const key = keyOf(object);
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
        touched.set(key, object);
      }
    }
    for (const list of [bases.taken, before]) {
      for (const object of list) {
        const key = keyOf(object);
        const left = (this.#counts.get(key) ?? 0) - 1;
        if (left > 0) this.#counts.set(key, left);
        else {
          this.#counts.delete(key);
          touched.set(key, undefined);
        }
      }
    }
    return touched;
  }

  /** These are there already, and go with the base. */
  addToBase(objects: readonly KernelObject[]): void {
    this.#base = [...this.#base, ...objects];
    for (const object of objects) {
      const key = keyOf(object);
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }
}

/** What another list has more and less, object by object; each object is in a list once. */
function difference(
  before: readonly KernelObject[],
  after: readonly KernelObject[],
): { readonly added: readonly KernelObject[]; readonly taken: Iterable<KernelObject> } {
  const left = new Set(before);
  const added = after.filter((object) => !left.delete(object));
  return { added, taken: left };
}
