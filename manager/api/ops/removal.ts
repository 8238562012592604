/** Removes what services may refer to, so that none refers to it in the end, whoever is at it at the same time. */
import { StaleError, type Store, type Tables, type Write } from '../../store/store.ts';

const ATTEMPTS = 5;

type Referable = 'networks' | 'secrets' | 'configs';

/**
 * First marks the record: from then on nobody can refer to it, and a service that was being written with it is refused by its
 * guard and tried again. Then `requireUnused` throws when a service was quicker, and the mark goes. `more` is deleted
 * with the record. A mark that a killed manager left keeps new services away; removing it again ends it.
 */
export async function removeReferable(
  store: Store,
  table: Referable,
  key: string,
  work: { readonly requireUnused: () => void; readonly more: readonly Write[] },
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const record = store.get(table, key);
    if (record === undefined) return;
    try {
      await put(store, table, key, { ...record, removing: true }, signal);
      try {
        work.requireUnused();
      } catch (error) {
        await unmark(store, table, key, signal);
        throw error;
      }
      const gone: Write = { table, key, value: null, expect: store.version(table, key) };
      await store.commit([gone, ...work.more], { signal });
      return;
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= ATTEMPTS) throw error;
    }
  }
}

async function unmark(store: Store, table: Referable, key: string, signal: AbortSignal): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const record = store.get(table, key);
    if (record === undefined) return;
    const { removing: _, ...rest } = record;
    try {
      return await put(store, table, key, rest, signal);
    } catch (error) {
      if (!(error instanceof StaleError) || attempt >= ATTEMPTS) throw error;
    }
  }
}

async function put(
  store: Store,
  table: Referable,
  key: string,
  value: Tables[Referable],
  signal: AbortSignal,
): Promise<void> {
  const write = { table, key, value, expect: store.version(table, key) } as Write;
  await store.commit([write], { signal });
}
