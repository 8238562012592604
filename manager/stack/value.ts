/** A YAML document as values that know where they stand, with aliases and merge keys resolved. */
import type { Position } from './problem.ts';

interface Placed extends Position {
  /** Path of the key for messages. */
  readonly key: string;
}

/** What the tags !reset and !override ask of a merge. */
export type MergeTag = 'reset' | 'override';

interface Tagged extends Placed {
  readonly tag?: MergeTag;
}

export interface ScalarValue extends Tagged {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | bigint | null;
  /** As written (variables filled in): 0644 and 1.10 are not what their numbers print. */
  readonly text: string;
}

export interface ListValue extends Tagged {
  readonly kind: 'list';
  readonly items: readonly Value[];
}

export interface MapEntry {
  readonly name: string;
  readonly at: Placed;
  readonly value: Value;
}

export interface MapValue extends Tagged {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, MapEntry>;
}

export type Value = ScalarValue | ListValue | MapValue;

export function childKey(key: string, name: string): string {
  return key === '' ? name : `${key}.${name}`;
}

/** The place of a value or key, without what stands there. */
export function placeOnly({ line, column, key, file }: Placed): Placed {
  return { line, column, key, ...(file === undefined ? {} : { file }) };
}

/** A copy with some entries set, or removed (undefined). */
export function mapWith(map: MapValue, changes: Readonly<Record<string, Value | undefined>>): MapValue {
  const entries = new Map(map.entries);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) entries.delete(name);
    else {
      const at = entries.get(name)?.at ?? { ...placeOnly(value), key: childKey(map.key, name) };
      entries.set(name, { name, at, value });
    }
  }
  return { ...map, entries };
}

export function isNull(value: Value): boolean {
  return value.kind === 'scalar' && value.value === null;
}

/** For messages: what a value is. */
export function describe(value: Value): string {
  if (value.kind === 'list') return 'a list';
  if (value.kind === 'map') return 'a mapping';
  if (value.value === null) return 'nothing';
  if (typeof value.value === 'string') return `the text '${value.value}'`;
  return value.text;
}
