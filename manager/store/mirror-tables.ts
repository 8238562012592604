/** The tables in memory with their indexes. Values are parsed once, when they arrive. */
import { TABLE_NAMES } from './store.ts';
import type { Change, TableName, Tables } from './store.ts';

const NO_IDS: ReadonlySet<string> = new Set();

/** Ids grouped by a field of the record. A group that becomes empty is dropped. */
class Index {
  readonly #groups = new Map<string, Set<string>>();

  get(group: string): ReadonlySet<string> {
    return this.#groups.get(group) ?? NO_IDS;
  }

  move(id: string, from: string | undefined, to: string | undefined): void {
    if (from === to) return;
    if (from !== undefined) this.#remove(id, from);
    if (to !== undefined) this.#add(id, to);
  }

  #add(id: string, group: string): void {
    const ids = this.#groups.get(group);
    if (ids === undefined) this.#groups.set(group, new Set([id]));
    else ids.add(id);
  }

  #remove(id: string, group: string): void {
    const ids = this.#groups.get(group);
    ids?.delete(id);
    if (ids?.size === 0) this.#groups.delete(group);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Table {
  readonly values: Map<string, unknown>;
  readonly versions: Map<string, number>;
}

export class MirrorTables {
  readonly #tables: Readonly<Record<TableName, Table>>;
  readonly #byService = new Index();
  readonly #byNode = new Index();

  constructor() {
    const tables = TABLE_NAMES.map((name) => [name, { values: new Map(), versions: new Map() }] as const);
    this.#tables = Object.fromEntries(tables) as unknown as Record<TableName, Table>;
  }

  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> {
    return this.#tables[table].values as Map<string, Tables[T]>;
  }

  version(table: TableName, key: string): number {
    return this.#tables[table].versions.get(key) ?? 0;
  }

  /** The keys of a table with their versions. */
  versions(table: TableName): ReadonlyMap<string, number> {
    return this.#tables[table].versions;
  }

  tasksOfService(serviceId: string): ReadonlySet<string> {
    return this.#byService.get(serviceId);
  }

  tasksOfNode(nodeId: string): ReadonlySet<string> {
    return this.#byNode.get(nodeId);
  }

  /** Sets or removes (undefined) one object and says what changed. `version` is the revision of the change. */
  apply(name: TableName, key: string, value: unknown, version: number): Change {
    const table = this.#tables[name];
    const before = table.values.get(key);
    const shared = this.#share(name, key, value);
    if (value === undefined) {
      table.values.delete(key);
      table.versions.delete(key);
    } else {
      table.values.set(shared, value);
      table.versions.set(shared, version);
    }
    if (name === 'tasks') this.#index(shared, before, value);
    return { table: name, key: shared, before, after: value, version } as Change;
  }

  /**
   * A value that was just parsed has strings of its own: ids that other records have too are replaced by theirs, which
   * halves what a task costs in memory. Returns the key to use: the record's own id where that is the same.
   */
  #share(name: TableName, key: string, value: unknown): string {
    if (value === undefined) return key;
    if (name === 'tasks') {
      const task = value as Mutable<Tables['tasks']>;
      task.serviceId = this.all('services').get(task.serviceId)?.id ?? task.serviceId;
      if (task.nodeId !== undefined) task.nodeId = this.all('nodes').get(task.nodeId)?.id ?? task.nodeId;
      return task.id === key ? task.id : key;
    }
    if (name === 'statuses') {
      const status = value as Mutable<Tables['statuses']>;
      if (status.taskId === key) status.taskId = this.all('tasks').get(key)?.id ?? key;
      return status.taskId === key ? status.taskId : key;
    }
    return key;
  }

  #index(id: string, before: unknown, after: unknown): void {
    const from = before as Tables['tasks'] | undefined;
    const to = after as Tables['tasks'] | undefined;
    this.#byService.move(id, from?.serviceId, to?.serviceId);
    this.#byNode.move(id, from?.nodeId, to?.nodeId);
  }
}
