/** A difference while it is put together. */
import type { AssignmentRows } from '../../shared/wire/assignment-diff.ts';

export type Lists = { [T in keyof AssignmentRows]: AssignmentRows[T][] };
export type Keys = { [T in keyof AssignmentRows]: string[] };

export function emptyLists(): { [T in keyof AssignmentRows]: never[] } {
  return { tasks: [], networks: [], endpoints: [], services: [], peers: [], secrets: [], configs: [] };
}

export function withoutEmpty<T extends Record<string, readonly unknown[]>>(lists: T): Partial<T> {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) as Partial<T>;
}
