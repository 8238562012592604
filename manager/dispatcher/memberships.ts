/** Which node is on which network, counted by the tasks that put it there. Pure. */
import { INGRESS_NETWORK_ID } from '../../shared/model/index.ts';

const NONE: ReadonlySet<string> = new Set();

export class Memberships {
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #nodes = new Map<string, Set<string>>();
  /** What a node was on at the last flush, for the nodes that changed since. */
  readonly #before = new Map<string, ReadonlySet<string>>();

  /** True when the node was not on the network. */
  add(nodeId: string, networkId: string): boolean {
    this.#remember(nodeId);
    const counts = this.#counts.get(nodeId) ?? new Map<string, number>();
    const count = (counts.get(networkId) ?? 0) + 1;
    this.#counts.set(nodeId, counts.set(networkId, count));
    if (count > 1) return false;
    this.#nodes.set(networkId, (this.#nodes.get(networkId) ?? new Set()).add(nodeId));
    return true;
  }

  /** True when the node is not on the network any more. */
  remove(nodeId: string, networkId: string): boolean {
    this.#remember(nodeId);
    const counts = this.#counts.get(nodeId);
    const left = (counts?.get(networkId) ?? 0) - 1;
    if (left > 0) {
      counts?.set(networkId, left);
      return false;
    }
    counts?.delete(networkId);
    if (counts?.size === 0) this.#counts.delete(nodeId);
    const nodes = this.#nodes.get(networkId);
    nodes?.delete(nodeId);
    if (nodes?.size === 0) this.#nodes.delete(networkId);
    return true;
  }

  now(nodeId: string): ReadonlySet<string> {
    const counts = this.#counts.get(nodeId);
    return counts === undefined ? NONE : new Set(counts.keys());
  }

  nodesOf(networkId: string): ReadonlySet<string> {
    return this.#nodes.get(networkId) ?? NONE;
  }

  before(nodeId: string): ReadonlySet<string> {
    return this.#before.get(nodeId) ?? this.now(nodeId);
  }

  /** Nodes that may be on other networks than at the last flush. */
  changed(): Iterable<string> {
    return this.#before.keys();
  }

  settle(): void {
    this.#before.clear();
  }

  #remember(nodeId: string): void {
    if (!this.#before.has(nodeId)) this.#before.set(nodeId, this.now(nodeId));
  }
}

/** While anything is published, every node is on ingress. */
export function withIngress(networkIds: ReadonlySet<string>, published: boolean): ReadonlySet<string> {
  return published ? new Set([...networkIds, INGRESS_NETWORK_ID]) : networkIds;
}
