/**
 * Which nodes a node has to know of: itself, those that share a network with it, and once anything is published on ingress
 * all of them, since every one may lead traffic there. Until then nothing leads from node to node through ingress, though
 * most tasks have an address on it. Otherwise each node that joins would be told to every other one. Pure.
 */
import { INGRESS_NETWORK_ID, type PeerAssignment } from '../../shared/model/index.ts';
import { type Sections, SectionTable } from './network-sections.ts';

export interface PeerDiff {
  readonly put: readonly PeerAssignment[];
  readonly drop: readonly string[];
}

/** What a node's peers follow from. */
export interface Reach {
  readonly networks: ReadonlySet<string>;
  /** Something is published on ingress. */
  readonly published: boolean;
}

export class PeerTables {
  /** Every node that has said where it is. */
  readonly #all = new SectionTable<PeerAssignment>();
  readonly #sections: Sections;

  constructor(sections: Sections) {
    this.#sections = sections;
  }

  /** `networks`: those that the node is on. */
  set(nodeId: string, row: PeerAssignment | undefined, networks: ReadonlySet<string>): void {
    this.#all.set(nodeId, row);
    for (const network of networks) {
      if (network !== INGRESS_NETWORK_ID) this.#sections.touch(network).peers.set(nodeId, row);
    }
  }

  join(nodeId: string, network: string): void {
    if (network === INGRESS_NETWORK_ID) return;
    this.#sections.touch(network).peers.set(nodeId, this.#all.rows.get(nodeId));
  }

  leave(nodeId: string, network: string): void {
    if (network === INGRESS_NETWORK_ID) return;
    this.#sections.touch(network).peers.set(nodeId, undefined);
  }

  /** Nodes whose own row changed since the last flush. */
  get changed(): ReadonlySet<string> {
    return this.#all.changed;
  }

  full(nodeId: string, { networks, published }: Reach): PeerAssignment[] {
    if (published) return [...this.#all.rows.values()];
    const rows = new Map<string, PeerAssignment>();
    for (const row of this.#rowsOn(networks)) rows.set(row.nodeId, row);
    const own = this.#all.rows.get(nodeId);
    if (own !== undefined) rows.set(nodeId, own);
    return [...rows.values()];
  }

  /** `before`: as of the last flush. */
  diff(nodeId: string, before: Reach, now: Reach): PeerDiff {
    if (now.published) {
      const everyone = this.#all.delta();
      const put = before.published ? everyone.put : [...this.#all.rows.values()];
      return { put, drop: everyone.drop };
    }
    const put = new Map<string, PeerAssignment>();
    const gone = new Set<string>(before.published ? this.#all.allKeys() : []);
    for (const network of now.networks) {
      const peers = this.#sections.get(network)?.peers;
      const delta = before.networks.has(network) ? peers?.delta() : undefined;
      for (const row of (delta === undefined ? peers?.rows.values() : delta.put) ?? [])
        put.set(row.nodeId, row);
      for (const key of delta?.drop ?? []) gone.add(key);
    }
    for (const network of before.networks) {
      if (now.networks.has(network)) continue;
      for (const key of this.#sections.get(network)?.peers.allKeys() ?? []) gone.add(key);
    }
    const own = this.#all.rows.get(nodeId);
    if (this.#all.changed.has(nodeId)) {
      if (own === undefined) gone.add(nodeId);
      else put.set(nodeId, own);
    }
    return {
      put: [...put.values()],
      drop: [...gone].filter((key) => !this.#isKnown(key, nodeId, now.networks)),
    };
  }

  settle(): void {
    this.#all.changed.clear();
  }

  #isKnown(key: string, nodeId: string, networks: ReadonlySet<string>): boolean {
    if (key === nodeId) return this.#all.rows.has(key);
    return [...networks].some((network) => this.#sections.get(network)?.peers.rows.has(key));
  }

  *#rowsOn(networks: ReadonlySet<string>): Generator<PeerAssignment> {
    for (const network of networks) yield* this.#sections.get(network)?.peers.rows.values() ?? [];
  }
}
