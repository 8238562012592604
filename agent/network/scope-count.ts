/**
 * PURE. How often each object of a scope is asked for. Several endpoints and services ask for the same ones (a neighbour for
 * all endpoints of a node, a chain for all VIPs with as many backends), and the object stays until the last has gone.
 */
import { type KernelObject, keyOf } from './kernel-object.ts';

export class ScopeCount {
  readonly #counts = new Map<string, number>();
  #base: readonly KernelObject[] = [];

  /**
   * Takes `before` and puts `after`, and with `base` another base in place of the last one. Gives what may have changed:
   * undefined for what nothing asks for any more.
   */
  exchange(
    before: readonly KernelObject[],
    after: readonly KernelObject[],
    base?: readonly KernelObject[],
  ): Map<string, KernelObject | undefined> {
    const touched = new Map<string, KernelObject | undefined>();
    const added = base === undefined ? [after] : [base, after];
    const taken = base === undefined ? [before] : [this.#base, before];
    if (base !== undefined) this.#base = base;
    for (const list of added) {
      for (const object of list) {
        const key = keyOf(object);
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
        touched.set(key, object);
      }
    }
    for (const list of taken) {
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
