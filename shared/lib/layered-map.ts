/**
 * A map made of another by a few changes, without a copy of all: it keeps the other as it was, and its own changes beside.
 * When those have become many the two are joined, so that a change costs little on the average however large the map is.
 */

/** Maps up to this size are simply copied. */
const SMALL = 1024;
/** The changes kept beside are at most this part of the whole. */
const MOST_CHANGES_PART = 32;

/** `map` with these keys gone and then these entries put. `map` stays as it is and must not be changed afterwards. */
export function changedMap<K, V>(
  map: ReadonlyMap<K, V>,
  put: readonly (readonly [K, V])[],
  drop: readonly K[],
): ReadonlyMap<K, V> {
  const [base, kept] = map instanceof LayeredMap ? layersOf<K, V>(map) : [map, new Map<K, Change<V>>()];
  const most = base.size < SMALL ? 0 : base.size / MOST_CHANGES_PART;
  if (kept.size + put.length + drop.length > most) {
    const next = new Map(map);
    for (const key of drop) next.delete(key);
    for (const [key, value] of put) next.set(key, value);
    return next;
  }
  const changes = new Map(kept);
  let { size } = map;
  const has = (key: K): boolean => {
    const change = changes.get(key);
    return change === undefined ? base.has(key) : change !== GONE;
  };
  for (const key of drop) {
    if (has(key)) size -= 1;
    changes.set(key, GONE);
  }
  for (const [key, value] of put) {
    if (!has(key)) size += 1;
    changes.set(key, { value });
  }
  return new LayeredMap(base, changes, size);
}

type Change<V> = { readonly value: V } | typeof GONE;
const GONE = Symbol('gone');

function layersOf<K, V>(map: LayeredMap<K, V>): [ReadonlyMap<K, V>, ReadonlyMap<K, Change<V>>] {
  return [map.base, map.changes];
}

class LayeredMap<K, V> implements ReadonlyMap<K, V> {
  readonly base: ReadonlyMap<K, V>;
  readonly changes: ReadonlyMap<K, Change<V>>;
  readonly size: number;

  constructor(base: ReadonlyMap<K, V>, changes: ReadonlyMap<K, Change<V>>, size: number) {
    this.base = base;
    this.changes = changes;
    this.size = size;
  }

  get(key: K): V | undefined {
    const change = this.changes.get(key);
    if (change === undefined) return this.base.get(key);
    return change === GONE ? undefined : change.value;
  }

  has(key: K): boolean {
    const change = this.changes.get(key);
    return change === undefined ? this.base.has(key) : change !== GONE;
  }

  *entries(): MapIterator<[K, V]> {
    for (const entry of this.base) if (!this.changes.has(entry[0])) yield entry;
    for (const [key, change] of this.changes) if (change !== GONE) yield [key, change.value];
    return undefined;
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
    return undefined;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
    return undefined;
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) visit(value, key, this);
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
}
