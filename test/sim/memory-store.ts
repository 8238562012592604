/** The store's contract in memory: versions, guards, fences and change events as etcd and the mirror have them. */
import type { Task } from '../../shared/model/index.ts';
import type {
  Change,
  CommitOptions,
  Fence,
  Store,
  TableName,
  Tables,
  Write,
} from '../../manager/store/store.ts';
import { StaleError, TABLE_NAMES } from '../../manager/store/store.ts';

interface Row {
  readonly value: unknown;
  readonly version: number;
}

const EMPTY: ReadonlySet<string> = new Set();

export class MemoryStore implements Store {
  revision = 1;
  /** Who may write with a fence. Undefined: nobody does. */
  leader: Fence | undefined;
  readonly #rows = new Map<TableName, Map<string, Row>>();
  readonly #values = new Map<TableName, Map<string, unknown>>();
  readonly #byService = new Map<string, Set<string>>();
  readonly #byNode = new Map<string, Set<string>>();
  readonly #listeners = new Set<(changes: readonly Change[]) => void>();

  constructor() {
    for (const table of TABLE_NAMES) {
      this.#rows.set(table, new Map());
      this.#values.set(table, new Map());
    }
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#values.get(table)?.get(key) as Tables[T] | undefined;
  }

  version(table: TableName, key: string): number {
    return this.#rows.get(table)?.get(key)?.version ?? 0;
  }

  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> {
    return this.#values.get(table) as unknown as ReadonlyMap<string, Tables[T]>;
  }

  tasksOfService(serviceId: string): ReadonlySet<string> {
    return this.#byService.get(serviceId) ?? EMPTY;
  }

  tasksOfNode(nodeId: string): ReadonlySet<string> {
    return this.#byNode.get(nodeId) ?? EMPTY;
  }

  async commit(writes: readonly Write[], options: CommitOptions): Promise<number> {
    options.signal.throwIfAborted();
    await Promise.resolve();
    return this.commitNow(writes, options);
  }

  /** The same at once: for simulated time. */
  commitNow(writes: readonly Write[], { guards = [], fence }: Partial<CommitOptions> = {}): number {
    if (fence !== undefined && fence.createRevision !== this.leader?.createRevision) {
      throw new StaleError('not the leader', true);
    }
    for (const { table, key, expect } of [...guards, ...writes]) {
      const version = this.version(table, key);
      if (expect !== undefined && expect !== version) {
        throw new StaleError(`${table}/${key} is at ${version}, not ${expect}`, false);
      }
    }
    if (new Set(writes.map(({ table, key }) => `${table}/${key}`)).size !== writes.length) {
      throw new Error('etcd: duplicate key given in txn request');
    }
    if (writes.length === 0) return this.revision;
    this.revision += 1;
    const changes = writes.map((write) => this.#apply(write));
    for (const listener of this.#listeners) listener(changes);
    return this.revision;
  }

  onChange(listener: (changes: readonly Change[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #apply({ table, key, value }: Write): Change {
    const before = this.get(table, key);
    if (table === 'tasks') this.#index(before as Task | undefined, value);
    if (value === null) {
      this.#rows.get(table)?.delete(key);
      this.#values.get(table)?.delete(key);
    } else {
      const plain: unknown = JSON.parse(JSON.stringify(value));
      this.#rows.get(table)?.set(key, { value: plain, version: this.revision });
      this.#values.get(table)?.set(key, plain);
    }
    return { table, key, before, after: value ?? undefined, version: this.revision } as Change;
  }

  #index(before: Task | undefined, after: Task | null): void {
    if (before !== undefined) {
      this.#byService.get(before.serviceId)?.delete(before.id);
      if (before.nodeId !== undefined) this.#byNode.get(before.nodeId)?.delete(before.id);
    }
    if (after === null) return;
    addTo(this.#byService, after.serviceId, after.id);
    if (after.nodeId !== undefined) addTo(this.#byNode, after.nodeId, after.id);
  }
}

function addTo(index: Map<string, Set<string>>, key: string, value: string): void {
  const set = index.get(key);
  if (set === undefined) index.set(key, new Set([value]));
  else set.add(value);
}
