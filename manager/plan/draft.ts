/**
 * What a plan has decided so far: units of writes, each of which must be committed whole. A unit is a service's own
 * records, a network's, or all that concerns one slot, so that a task is never stopped without its replacement.
 */
import type { Guard, TableName, Tables, Write } from '../store/store.ts';
import type { View } from './view.ts';

export interface Unit {
  /** 0: networks and services, which others build upon; 1: slots, independent of one another. */
  readonly stage: 0 | 1;
  readonly writes: readonly Write[];
  readonly guards: readonly Guard[];
}

interface OpenUnit {
  readonly stage: 0 | 1;
  readonly writes: Map<string, Write>;
  readonly guards: Map<string, Guard>;
}

export class Draft {
  readonly #view: View;
  readonly #units = new Map<string, OpenUnit>();

  constructor(view: View) {
    this.#view = view;
  }

  /** Puts (or, with null, deletes) a record, guarded by the version that the view has. A later call replaces it. */
  put<T extends TableName>(unit: string, stage: 0 | 1, table: T, key: string, value: Tables[T] | null): void {
    const expect = this.#view.version(table, key);
    const write = { table, key, value, expect } as Write;
    this.#open(unit, stage).writes.set(`${table}/${key}`, write);
  }

  /**
   * Deletes a record whatever its version: for observed state of tasks that are gone. One that is absent has to stay so
   * until the unit is written, else a last report would outlive its task.
   */
  drop(unit: string, stage: 0 | 1, table: TableName, key: string): void {
    if (this.#view.version(table, key) === 0) {
      this.guard(unit, stage, table, key);
      return;
    }
    this.#open(unit, stage).writes.set(`${table}/${key}`, { table, key, value: null });
  }

  /** The unit holds only as long as this object stays as the view shows it. */
  guard(unit: string, stage: 0 | 1, table: TableName, key: string): void {
    const id = `${table}/${key}`;
    const open = this.#open(unit, stage);
    if (!open.guards.has(id)) open.guards.set(id, { table, key, expect: this.#view.version(table, key) });
  }

  units(): Unit[] {
    const units: Unit[] = [];
    for (const stage of [0, 1] as const) {
      for (const unit of this.#units.values()) {
        if (unit.stage !== stage || unit.writes.size === 0) continue;
        const guards = [...unit.guards].filter(([id]) => !unit.writes.has(id)).map(([, guard]) => guard);
        units.push({ stage, writes: [...unit.writes.values()], guards });
      }
    }
    return units;
  }

  #open(name: string, stage: 0 | 1): OpenUnit {
    let unit = this.#units.get(name);
    if (unit === undefined) {
      unit = { stage, writes: new Map(), guards: new Map() };
      this.#units.set(name, unit);
    }
    return unit;
  }
}
