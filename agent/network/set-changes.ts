/** Which endpoints and services differ between the assignment set that was taken last and the newest one. */
import { changedKeys } from '../../shared/wire/assignment-diff.ts';
import type { AssignmentSet } from '../../shared/model/index.ts';
import type { RowChanges } from './endpoint-index.ts';

export class SetChanges {
  #endpoints = new Set<string>();
  #services = new Set<string>();
  /** What was known last is not what the kernel has, or how they differ is not known. */
  #lost = true;

  /** The set `after` takes the place of `before`. */
  follow(before: AssignmentSet | undefined, after: AssignmentSet): void {
    const endpoints = before && changedKeys(before.endpoints, after.endpoints);
    const services = before && changedKeys(before.services, after.services);
    if (endpoints === undefined || services === undefined) return this.lost();
    for (const key of endpoints) this.#endpoints.add(key);
    for (const key of services) this.#services.add(key);
  }

  /** The next that is taken is of unknown extent. */
  lost(): void {
    this.#lost = true;
  }

  /** All that has changed since the last taking; undefined when that is not known. */
  take(): RowChanges | undefined {
    const rows = this.#lost ? undefined : { endpoints: this.#endpoints, services: this.#services };
    this.#lost = false;
    this.#endpoints = new Set();
    this.#services = new Set();
    return rows;
  }
}
