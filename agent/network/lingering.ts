/**
 * PURE. Networks that nobody here is on any more, and whose sandboxes stay for a while: making one, and taking it away,
 * costs more than all the rest of starting a container, and a task that ends is mostly followed by another one.
 */
import { overlapOf, subnetsOf } from '../../shared/lib/network-subnets.ts';
import type { NetworkAssignment } from '../../shared/model/index.ts';

/** So that a node over which many networks pass does not keep them all. */
const MOST = 16;

export class Lingering {
  readonly #forMs: number;
  /** In the order in which they were left. */
  #left = new Map<string, { readonly network: NetworkAssignment; readonly untilMs: number }>();
  #active: ReadonlyMap<string, NetworkAssignment> = new Map();

  /** For so many milliseconds; 0: not at all. */
  constructor(forMs: number) {
    this.#forMs = forMs;
  }

  /** The networks to keep besides those that are needed now. One that is in another's way goes at once. */
  keep(active: readonly NetworkAssignment[], nowMs: number): NetworkAssignment[] {
    const now = new Map(active.map((network) => [network.networkId, network]));
    for (const [id, network] of this.#active) {
      if (!now.has(id)) this.#left.set(id, { network, untilMs: nowMs + this.#forMs });
    }
    for (const [id, { network, untilMs }] of this.#left) {
      if (untilMs <= nowMs || now.has(id) || active.some((other) => isInTheWay(network, other)))
        this.#left.delete(id);
    }
    for (const id of this.#left.keys()) if (this.#left.size > MOST) this.#left.delete(id);
    this.#active = now;
    return this.kept;
  }

  /** Those that are kept now. */
  get kept(): NetworkAssignment[] {
    return [...this.#left.values()].map(({ network }) => network);
  }

  /** When the first of them is due to go; undefined when there is none. */
  get dueMs(): number | undefined {
    const due = [...this.#left.values()].map(({ untilMs }) => untilMs);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** None is kept from now on. */
  clear(): void {
    this.#left = new Map();
    this.#active = new Map();
  }
}

/** The other has been made since, with numbers that this one gave back. */
function isInTheWay(left: NetworkAssignment, other: NetworkAssignment): boolean {
  const [ours, theirs] = [left, other].map((one) => subnetsOf(one).map(({ subnet }) => subnet));
  return left.vni === other.vni || overlapOf(ours ?? [], theirs ?? []) !== undefined;
}
