/** Managers that were removed keep a certificate that the CA has signed: the cluster's record says that it does not count any more. */
import type { Cluster } from '../../shared/model/index.ts';
import type { Store, Write } from '../store/store.ts';

/** No certificate is valid for longer. */
const LONGEST_LIFE_MS = 3650 * 24 * 3600 * 1000;

/** The record once these are no managers any more. Pure. */
export function withRemoved(cluster: Cluster, ids: readonly string[], nowMs: number): Cluster {
  const known = cluster.removedManagers ?? [];
  const kept = known.filter(
    ({ id, removedAtMs }) => nowMs - removedAtMs < LONGEST_LIFE_MS && !ids.includes(id),
  );
  return { ...cluster, removedManagers: [...kept, ...ids.map((id) => ({ id, removedAtMs: nowMs }))] };
}

/** What takes these out, in one transaction: nobody sees them gone and still believes them. */
export function removalWrites(store: Store, ids: readonly string[], nowMs: number): Write[] {
  const cluster = store.get('cluster', 'self');
  const gone = ids.map(
    (id): Write => ({
      table: 'managers',
      key: id,
      value: null,
      expect: store.version('managers', id),
    }),
  );
  if (cluster === undefined || ids.length === 0) return gone;
  const value = withRemoved(cluster, ids, nowMs);
  return [...gone, { table: 'cluster', key: 'self', value, expect: store.version('cluster', 'self') }];
}

/** A manager that could not leave after all counts again. */
export function readmissionWrites(store: Store, id: string): Write[] {
  const cluster = store.get('cluster', 'self');
  const removed = cluster?.removedManagers ?? [];
  if (cluster === undefined || removed.every((one) => one.id !== id)) return [];
  const value = { ...cluster, removedManagers: removed.filter((one) => one.id !== id) };
  return [{ table: 'cluster', key: 'self', value, expect: store.version('cluster', 'self') }];
}
