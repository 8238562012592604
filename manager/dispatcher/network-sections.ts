/**
 * What is known on each network, and how it changed since the last flush. All nodes of a network share these rows: a
 * change is computed once, however many nodes learn of it. Pure.
 */
import type {
  EndpointAssignment,
  NetworkAssignment,
  PeerAssignment,
  ServiceAssignment,
} from '../../shared/model/index.ts';
import { sameData } from '../../shared/wire/assignment-diff.ts';

/** Rows of one table on one network by key, with the keys that changed since the last flush. */
export class SectionTable<Row> {
  readonly rows = new Map<string, Row>();
  readonly changed = new Set<string>();

  set(key: string, row: Row | undefined): void {
    if (sameData(this.rows.get(key), row)) return;
    if (row === undefined) this.rows.delete(key);
    else this.rows.set(key, row);
    this.changed.add(key);
  }

  /** What a node gets that had the table before: rows to put and keys to drop. */
  delta(): { readonly put: readonly Row[]; readonly drop: readonly string[] } {
    const put: Row[] = [];
    const drop: string[] = [];
    for (const key of this.changed) {
      const row = this.rows.get(key);
      if (row === undefined) drop.push(key);
      else put.push(row);
    }
    return { put, drop };
  }

  /** What a node drops that leaves: all that it may have been told of. */
  allKeys(): readonly string[] {
    return [...new Set([...this.rows.keys(), ...this.changed])];
  }
}

export interface Section {
  readonly networks: SectionTable<NetworkAssignment>;
  readonly endpoints: SectionTable<EndpointAssignment>;
  readonly services: SectionTable<ServiceAssignment>;
  /** The nodes that are on the network. */
  readonly peers: SectionTable<PeerAssignment>;
}

/** Those whose keys name the network. */
export const SECTION_TABLES = ['networks', 'endpoints', 'services'] as const;
const ALL_TABLES = [...SECTION_TABLES, 'peers'] as const;

export class Sections {
  readonly #sections = new Map<string, Section>();
  readonly #dirty = new Set<string>();

  /** For writing: the network's section is looked at in the next flush. */
  touch(networkId: string): Section {
    this.#dirty.add(networkId);
    const section = this.#sections.get(networkId) ?? newSection();
    this.#sections.set(networkId, section);
    return section;
  }

  get(networkId: string): Section | undefined {
    return this.#sections.get(networkId);
  }

  /** Networks whose rows may have changed since the last flush. */
  get dirty(): ReadonlySet<string> {
    return this.#dirty;
  }

  /** Networks whose rows did change since the last flush. */
  *changed(): Generator<string> {
    for (const networkId of this.#dirty) {
      const section = this.#sections.get(networkId);
      if (section !== undefined && ALL_TABLES.some((table) => section[table].changed.size > 0))
        yield networkId;
    }
  }

  /** Forgets what changed, and sections that are empty. */
  settle(): void {
    for (const networkId of this.#dirty) {
      const section = this.#sections.get(networkId);
      if (section === undefined) continue;
      for (const table of ALL_TABLES) section[table].changed.clear();
      if (ALL_TABLES.every((table) => section[table].rows.size === 0)) this.#sections.delete(networkId);
    }
    this.#dirty.clear();
  }
}

function newSection(): Section {
  return {
    networks: new SectionTable(),
    endpoints: new SectionTable(),
    services: new SectionTable(),
    peers: new SectionTable(),
  };
}
