/** Which secrets and configs each node holds, and how that changed since the last flush. Pure. */
import type { FileAssignment } from '../../shared/model/index.ts';
import {
  type AssignmentView,
  FILE_TABLES,
  type FileIds,
  fileRow,
  type FileTable,
} from './assignment-rows.ts';
import { Memberships } from './memberships.ts';

export class HeldFiles {
  readonly #view: AssignmentView;
  readonly #memberships = new Memberships();
  /** Files whose record came or went. */
  readonly #changed = new Set<string>();

  constructor(view: AssignmentView) {
    this.#view = view;
  }

  get hasChanges(): boolean {
    return this.#changed.size > 0;
  }

  /** A task was on `before` with these files, and is on `after` with those. */
  move(before: Holding, after: Holding): void {
    for (const key of keysOf(after.files)) this.#memberships.add(after.nodeId ?? '', key);
    for (const key of keysOf(before.files)) this.#memberships.remove(before.nodeId ?? '', key);
  }

  /** The contents of a record never change: that it came or went is all that matters. */
  noteRecord(table: FileTable, id: string): void {
    this.#changed.add(keyOf(table, id));
  }

  /** Nodes that may hold other files than at the last flush. */
  *changedNodes(): Generator<string> {
    yield* this.#memberships.changed();
    for (const key of this.#changed) yield* this.#memberships.nodesOf(key);
  }

  rows(nodeId: string, table: FileTable): FileAssignment[] {
    return [...this.#memberships.now(nodeId)].flatMap((key) => this.#row(table, key) ?? []);
  }

  diff(nodeId: string, table: FileTable): { put: FileAssignment[]; drop: string[] } {
    const put: FileAssignment[] = [];
    const drop: string[] = [];
    const before = this.#memberships.before(nodeId);
    const now = this.#memberships.now(nodeId);
    for (const key of new Set([...before, ...now])) {
      const id = idOf(table, key);
      if (id === undefined || (before.has(key) && now.has(key) && !this.#changed.has(key))) continue;
      const row = now.has(key) ? this.#row(table, key) : undefined;
      if (row === undefined) drop.push(id);
      else put.push(row);
    }
    return { put, drop };
  }

  settle(): void {
    this.#memberships.settle();
    this.#changed.clear();
  }

  #row(table: FileTable, key: string): FileAssignment | undefined {
    const id = idOf(table, key);
    return id === undefined ? undefined : fileRow(this.#view, table, id);
  }
}

interface Holding {
  readonly nodeId: string | undefined;
  readonly files: FileIds;
}

function keyOf(table: FileTable, id: string): string {
  return `${table}/${id}`;
}

function idOf(table: FileTable, key: string): string | undefined {
  return key.startsWith(`${table}/`) ? key.slice(table.length + 1) : undefined;
}

function keysOf(files: FileIds): string[] {
  return FILE_TABLES.flatMap((table) => files[table].map((id) => keyOf(table, id)));
}
