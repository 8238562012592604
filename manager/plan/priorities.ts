/** The priority of each service: that of its current revision, for all of its tasks. */
import type { Service, ServiceSpec } from '../../shared/model/index.ts';
import { DEFAULT_PRIORITY } from '../../shared/model/index.ts';
import { revisionKey } from './states.ts';
import type { View } from './view.ts';

export class Priorities {
  readonly #view: View;
  readonly #known = new Map<string, number>();
  #lowest: number | undefined;

  constructor(view: View) {
    this.#view = view;
  }

  of(serviceId: string): number {
    const known = this.#known.get(serviceId);
    if (known !== undefined) return known;
    const service = this.#view.services.get(serviceId);
    const priority = (service && this.specOf(service)?.priority) ?? DEFAULT_PRIORITY;
    this.#known.set(serviceId, priority);
    return priority;
  }

  /** The lowest that any service has. Looks at all of them, once. */
  get lowest(): number {
    if (this.#lowest === undefined) {
      this.#lowest = Number.POSITIVE_INFINITY;
      for (const id of this.#view.services.keys()) this.#lowest = Math.min(this.#lowest, this.of(id));
    }
    return this.#lowest;
  }

  specOf({ id, revision }: Service): ServiceSpec | undefined {
    return this.#view.revisions.get(revisionKey(id, revision))?.spec;
  }
}
