/** Rows of assignments as lists by table, gathered for one node from the tables of the networks that it is on. */
import type { AssignmentRows } from '../../shared/wire/assignment-diff.ts';
import { SECTION_TABLES, type Sections } from './network-sections.ts';

export type Lists = { [T in keyof AssignmentRows]: AssignmentRows[T][] };
export type Keys = { [T in keyof AssignmentRows]: string[] };

export function addDelta(sections: Sections, networkId: string, put: Lists, drop: Keys): void {
  if (!sections.dirty.has(networkId)) return;
  const section = sections.get(networkId);
  if (section === undefined) return;
  for (const table of SECTION_TABLES) append(drop[table], section[table].delta().drop);
  append(put.networks, section.networks.delta().put);
  append(put.endpoints, section.endpoints.delta().put);
  append(put.services, section.services.delta().put);
}

export function addAll(sections: Sections, networkId: string, put: Lists): void {
  const section = sections.get(networkId);
  if (section === undefined) return;
  append(put.networks, section.networks.rows.values());
  append(put.endpoints, section.endpoints.rows.values());
  append(put.services, section.services.rows.values());
}

export function dropAll(sections: Sections, networkId: string, drop: Keys): void {
  const section = sections.get(networkId);
  if (section === undefined) return;
  for (const table of SECTION_TABLES) append(drop[table], section[table].allKeys());
}

export function emptyLists(): { [T in keyof AssignmentRows]: never[] } {
  return { tasks: [], networks: [], endpoints: [], services: [], peers: [], secrets: [], configs: [] };
}

export function withoutEmpty<T extends Record<string, readonly unknown[]>>(lists: T): Partial<T> {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) as Partial<T>;
}

/** One by one: a large network has more rows than a call may have arguments. */
function append<T>(list: T[], items: Iterable<T>): void {
  for (const item of items) list.push(item);
}
