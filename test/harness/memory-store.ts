/**
 * A store in memory with the semantics of the real one: guarded transactions, a mirror that is current when commit
 * resolves, changes announced synchronously. For tests of what is above the store.
 */
import { UnavailableError } from '../../shared/errors/index.ts';
import {
  type Change,
  type CommitOptions,
  StaleError,
  type Store,
  TABLE_NAMES,
  type TableName,
  type Tables,
  type Write,
} from '../../manager/store/store.ts';

interface Row {
  readonly value: unknown;
  readonly version: number;
}

export class MemoryStore implements Store {
  #revision = 1;
  readonly #rows = new Map<TableName, Map<string, Row>>(TABLE_NAMES.map((name) => [name, new Map()]));
  readonly #values = new Map<TableName, Map<string, unknown>>(TABLE_NAMES.map((name) => [name, new Map()]));
  readonly #listeners = new Set<(changes: readonly Change[]) => void>();
  /** Transactions that were committed: an idle cluster leaves it as it is. */
  commits = 0;
  /** While true, commits fail as they do when etcd can not be reached. */
  unavailable = false;
  /** Commits that failed because of it. */
  refused = 0;

  get revision(): number {
    return this.#revision;
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#values.get(table)?.get(key) as Tables[T] | undefined;
  }

  version(table: TableName, key: string): number {
    return this.#rows.get(table)?.get(key)?.version ?? 0;
  }

  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> {
    return this.#values.get(table) as ReadonlyMap<string, Tables[T]>;
  }

  tasksOfService(serviceId: string): ReadonlySet<string> {
    return this.#tasksWhere((task) => task.serviceId === serviceId);
  }

  tasksOfNode(nodeId: string): ReadonlySet<string> {
    return this.#tasksWhere((task) => task.nodeId === nodeId);
  }

  async commit(writes: readonly Write[], options: CommitOptions): Promise<number> {
    await Promise.resolve();
    options.signal.throwIfAborted();
    if (this.unavailable) {
      this.refused += 1;
      throw new UnavailableError('the store is switched off');
    }
    const guards = [
      ...(options.guards ?? []),
      ...writes.flatMap((write) => (write.expect === undefined ? [] : [{ ...write, expect: write.expect }])),
    ];
    for (const guard of guards) {
      const version = this.version(guard.table, guard.key);
      if (version === guard.expect) continue;
      throw new StaleError(`${guard.table}/${guard.key} has version ${version}, not ${guard.expect}`, false);
    }
    this.#revision += 1;
    this.commits += 1;
    const changes = writes.map((write) => this.#apply(write));
    for (const listener of [...this.#listeners]) listener(changes);
    return this.#revision;
  }

  /** Who listens now. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  onChange(listener: (changes: readonly Change[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #apply(write: Write): Change {
    const { table, key } = write;
    const before = this.get(table, key);
    // A copy through JSON, as etcd gives it: nobody shares an object with the writer.
    const after: unknown = write.value === null ? undefined : JSON.parse(JSON.stringify(write.value));
    if (after === undefined) {
      this.#rows.get(table)?.delete(key);
      this.#values.get(table)?.delete(key);
    } else {
      this.#rows.get(table)?.set(key, { value: after, version: this.#revision });
      this.#values.get(table)?.set(key, after);
    }
    return { table, key, before, after, version: this.#revision } as Change;
  }

  #tasksWhere(wanted: (task: Tables['tasks']) => boolean): ReadonlySet<string> {
    return new Set([...this.all('tasks')].filter(([, task]) => wanted(task)).map(([id]) => id));
  }
}
