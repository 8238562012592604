/** The cluster record: made once, by whichever manager starts first. */
import { newId } from '../../shared/lib/ids.ts';
import type { Cluster } from '../../shared/model/index.ts';
import { formatJoinToken } from '../../shared/wire/join-token.ts';
import { StaleError, type Store } from '../store/store.ts';
import { type Authority, createRoot, openAuthority } from './authority.ts';

export interface ClusterOptions {
  /** Where subnets of overlay networks are taken from. Default 10.0.0.0/8. */
  readonly addressPool?: string;
  /** Prefix length of a subnet. Default 20. */
  readonly subnetBits?: number;
  /** Silence after which a node is down. Default 2000. */
  readonly nodeDownAfterMs?: number;
  /** Finished tasks kept for each slot. Default 5. */
  readonly taskHistoryLimit?: number;
  /** How long certificates are valid. Default: 90 days. */
  readonly certificateLifeMs?: number;
}

/**
 * Reads the cluster record, or writes it when there is none. The write is guarded (it must not exist), so that of two
 * managers that start at once one wins and the other reads what it wrote. Options matter only to the one that writes.
 */
export async function loadOrCreateCluster(
  store: Store,
  options: ClusterOptions,
  nowMs: number,
  signal: AbortSignal,
): Promise<Cluster> {
  const existing = store.get('cluster', 'self');
  if (existing !== undefined) return existing;
  const cluster = await newCluster(options, nowMs);
  try {
    await store.commit([{ table: 'cluster', key: 'self', value: cluster, expect: 0 }], { signal });
    return cluster;
  } catch (error) {
    if (!(error instanceof StaleError)) throw error;
    return winnersCluster(store, signal);
  }
}

async function newCluster(options: ClusterOptions, nowMs: number): Promise<Cluster> {
  const clusterId = newId();
  return {
    id: 'self',
    clusterId,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    ...(await createRoot(clusterId, nowMs)),
    joinSecrets: { worker: newId(), manager: newId() },
    addressPool: options.addressPool ?? '10.0.0.0/8',
    subnetBits: options.subnetBits ?? 20,
    nodeDownAfterMs: options.nodeDownAfterMs ?? 2000,
    taskHistoryLimit: options.taskHistoryLimit ?? 5,
    ...(options.certificateLifeMs === undefined ? {} : { certificateLifeMs: options.certificateLifeMs }),
  };
}

/** Another manager wrote it between our read and our write: it arrives in this mirror in a moment. */
function winnersCluster(store: Store, signal: AbortSignal): Promise<Cluster> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const cluster = store.get('cluster', 'self');
      if (cluster === undefined) return;
      stop();
      resolve(cluster);
    };
    const onAbort = (): void => {
      stop();
      reject(signal.reason);
    };
    const undo = store.onChange(look);
    const stop = (): void => {
      undo();
      signal.removeEventListener('abort', onAbort);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    look();
  });
}

const opened = new WeakMap<Cluster, Promise<Authority>>();

/** The authority as this record has it: opened once a record. */
export function authorityOf(cluster: Cluster): Promise<Authority> {
  const known = opened.get(cluster);
  if (known !== undefined) return known;
  const opening = openAuthority(cluster.clusterId, cluster, cluster.certificateLifeMs);
  opened.set(cluster, opening);
  return opening;
}

/** The tokens that go on until they are rotated. */
export function joinTokens(cluster: Cluster, authority: Authority): { worker: string; manager: string } {
  const format = (secret: string): string => formatJoinToken({ caDigest: authority.digest, secret });
  return { worker: format(cluster.joinSecrets.worker), manager: format(cluster.joinSecrets.manager) };
}
