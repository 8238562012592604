/** Packs a plan's units into commits: each unit whole, each commit small enough for any etcd (128 operations). */
import type { Unit } from '../plan/draft.ts';
import type { Guard, Write } from '../store/store.ts';

export interface Chunk {
  readonly writes: readonly Write[];
  readonly guards: readonly Guard[];
}

/** etcd's default --max-txn-ops is 128, for comparisons and for operations each; one comparison is the fence. */
export const MAX_CHUNK_OPERATIONS = 120;

/** A unit larger than the limit becomes a chunk of its own. Guards of what the chunk itself writes are left out. */
export function packUnits(units: readonly Unit[], limit: number): Chunk[] {
  const chunks: Chunk[] = [];
  let open = new OpenChunk();
  for (const unit of units) {
    if (!open.isEmpty && !open.fits(unit, limit)) {
      chunks.push(open.close());
      open = new OpenChunk();
    }
    open.add(unit);
  }
  if (!open.isEmpty) chunks.push(open.close());
  return chunks;
}

/** The chunk with the versions that this leader's own earlier commits gave: `table/key` to revision. */
export function withVersions(chunk: Chunk, versions: ReadonlyMap<string, number>): Chunk {
  if (versions.size === 0) return chunk;
  return {
    writes: chunk.writes.map((write) => {
      const version = versions.get(`${write.table}/${write.key}`);
      return version === undefined || write.expect === undefined ? write : { ...write, expect: version };
    }),
    guards: chunk.guards.map((guard) => {
      const version = versions.get(`${guard.table}/${guard.key}`);
      return version === undefined ? guard : { ...guard, expect: version };
    }),
  };
}

class OpenChunk {
  readonly #writes: Write[] = [];
  readonly #compared = new Set<string>();
  readonly #guards = new Map<string, Guard>();

  get isEmpty(): boolean {
    return this.#writes.length === 0;
  }

  fits(unit: Unit, limit: number): boolean {
    let compares = this.#compared.size;
    for (const { table, key } of [...unit.writes, ...unit.guards]) {
      if (!this.#compared.has(`${table}/${key}`)) compares += 1;
    }
    return compares <= limit && this.#writes.length + unit.writes.length <= limit;
  }

  add(unit: Unit): void {
    for (const write of unit.writes) {
      this.#writes.push(write);
      this.#compared.add(`${write.table}/${write.key}`);
    }
    for (const guard of unit.guards) {
      const id = `${guard.table}/${guard.key}`;
      this.#compared.add(id);
      this.#guards.set(id, guard);
    }
  }

  close(): Chunk {
    for (const { table, key } of this.#writes) this.#guards.delete(`${table}/${key}`);
    return { writes: this.#writes, guards: [...this.#guards.values()] };
  }
}
