/** The latest time of day in the records: a manager's clock that says less is wrong, or another manager's was. */
import type { Store } from './store.ts';

export function newestTime(store: Pick<Store, 'all'>): number {
  let newest = 0;
  for (const { createdAtMs, desiredAtMs } of store.all('tasks').values()) {
    newest = Math.max(newest, createdAtMs, desiredAtMs);
  }
  for (const { atMs } of store.all('statuses').values()) newest = Math.max(newest, atMs);
  for (const { updatedAtMs } of store.all('services').values()) newest = Math.max(newest, updatedAtMs);
  for (const { updatedAtMs } of store.all('nodes').values()) newest = Math.max(newest, updatedAtMs);
  return newest;
}
