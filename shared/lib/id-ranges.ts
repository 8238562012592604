/** PURE. Ranges of ids of a node for containers that have user namespaces of their own. */

/** Ids from first on. Users and groups have the same. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

/** As many as an image may use: 0 to 65535. */
export const RANGE_IDS = 65_536;

/** 12,288 containers at once; above what useradd(8) gives to users (SUB_UID_MAX), below the last ids. */
export const DEFAULT_POOL: IdRange = { first: 0x4000_0000, count: 0x3000_0000 };

/** FIRST:COUNT. Throws TypeError. */
export function parsePool(text: string): IdRange {
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(text);
  const [first, count] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || first < RANGE_IDS || count < RANGE_IDS || first + count > 2 ** 32 - 1)
    throw new TypeError(
      `'${text}': FIRST:COUNT is expected, such as 1073741824:805306368, both at least ${RANGE_IDS}`,
    );
  return { first, count };
}

/** The first range of the pool that shares no id with those that are taken; undefined when there is none. */
export function freeRange(pool: IdRange, taken: readonly IdRange[]): IdRange | undefined {
  let first = pool.first;
  for (const other of taken.toSorted((a, b) => a.first - b.first)) {
    if (other.first + other.count <= first) continue;
    if (other.first >= first + RANGE_IDS) break;
    first = other.first + other.count;
  }
  return first + RANGE_IDS <= pool.first + pool.count ? { first, count: RANGE_IDS } : undefined;
}

/** Lines of subuid(5) or subgid(5) whose ids are the pool's, too: what users may do with these, containers see. */
export function sharedWith(pool: IdRange, subordinates: string): string[] {
  return subordinates.split('\n').filter((line) => {
    const [, first, count] = /^[^:#]+:(\d+):(\d+)\s*$/.exec(line) ?? [];
    if (first === undefined) return false;
    return Number(first) < pool.first + pool.count && pool.first < Number(first) + Number(count);
  });
}
