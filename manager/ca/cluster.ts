/** The cluster record: made once, by whichever manager starts first; its secrets are sealed with the data key. */
import { ConflictError, InvalidError } from '../../shared/errors/index.ts';
import { newId } from '../../shared/lib/ids.ts';
import type { Cluster, ClusterSecrets, Logger } from '../../shared/model/index.ts';
import { formatJoinToken } from '../../shared/wire/join-token.ts';
import { StaleError, type Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import { type Authority, createRoot, openAuthority, type RootMaterial } from './authority.ts';

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
  /** The root that the cluster begins with; default: one is made. Must have been checked. */
  readonly root?: RootMaterial;
  /** Told when secrets are sealed, or were lost and are made anew. */
  readonly logger?: Logger;
}

/**
 * Reads the cluster record, or writes it when there is none. The write is guarded (it must not exist), so that of two
 * managers that start at once one wins and the other reads what it wrote. Options matter only to the one that writes.
 * Secrets that data of before has in the clear are sealed, as soon as no manager of before is left. Throws InvalidError when they are sealed with a key that this
 * manager does not have.
 */
export async function loadOrCreateCluster(
  store: Store,
  vault: Vault,
  options: ClusterOptions,
  nowMs: number,
  signal: AbortSignal,
): Promise<Cluster> {
  for (;;) {
    const existing = store.get('cluster', 'self');
    // Of the record that was looked at: another manager may write while this one makes a root.
    const expect = store.version('cluster', 'self');
    const value =
      existing === undefined
        ? await newCluster(vault, options, nowMs)
        : await sealedBy(vault, existing, options, nowMs);
    if (value === existing) return value;
    try {
      await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
    } catch (error) {
      if (existing !== undefined && 'plain' in existing.secrets && error instanceof ConflictError)
        return existing;
      if (!(error instanceof StaleError)) throw error;
      if (existing === undefined) await winnersCluster(store, signal);
    }
  }
}

async function newCluster(vault: Vault, options: ClusterOptions, nowMs: number): Promise<Cluster> {
  const clusterId = newId();
  return {
    id: 'self',
    clusterId,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    ...newTrust(vault, options.root ?? (await createRoot(clusterId, nowMs))),
    dataKeyId: vault.keyId,
    addressPool: options.addressPool ?? '10.0.0.0/8',
    subnetBits: options.subnetBits ?? 20,
    nodeDownAfterMs: options.nodeDownAfterMs ?? 2000,
    taskHistoryLimit: options.taskHistoryLimit ?? 5,
    ...(options.certificateLifeMs === undefined ? {} : { certificateLifeMs: options.certificateLifeMs }),
  };
}

/** A root, and join tokens that nobody has seen. */
function newTrust(
  vault: Vault,
  { caCertificatePem, caKeyPem }: RootMaterial,
): Pick<Cluster, 'caCertificatePem' | 'secrets'> {
  const joinSecrets = { worker: newId(), manager: newId() };
  return { caCertificatePem, secrets: sealSecrets(vault, { caKeyPem, joinSecrets }) };
}

/** The record as it shall be: with its secrets sealed by this key. The same object when it is so already. */
async function sealedBy(
  vault: Vault,
  cluster: Cluster,
  { logger }: ClusterOptions,
  nowMs: number,
): Promise<Cluster> {
  const { secrets } = cluster;
  if (cluster.dataKeyId === undefined || !vault.has(cluster.dataKeyId)) {
    throw new InvalidError(
      `this cluster has the data key ${cluster.dataKeyId ?? 'of nobody'}, this manager ${vault.keyId}: copy the file data-key ` +
        'from another manager, or see docs/secrets.md',
    );
  }
  if ('plain' in secrets) {
    logger?.info({}, "the CA's key and the secrets of the join tokens are sealed from now on");
    return { ...cluster, secrets: sealSecrets(vault, secrets.plain) };
  }
  if (vault.has(secrets.sealed.keyId)) return cluster;
  // The data key was replaced because it is lost (--new-data-key), and the CA's key with it.
  logger?.warn(
    {},
    'the CA of this cluster was lost with its data key: it has a new one, and nodes come back with a token',
  );
  const { rotation: _, autolock: __, ...rest } = cluster;
  return { ...rest, ...newTrust(vault, await createRoot(cluster.clusterId, nowMs)), updatedAtMs: nowMs };
}

/** Another manager wrote it between our read and our write: it arrives in this mirror in a moment. */
function winnersCluster(store: Store, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (store.get('cluster', 'self') === undefined) return;
      stop();
      resolve();
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

/** Throws SealError when they do not open with this key. */
export function openSecrets(vault: Vault, { id, secrets }: Cluster): ClusterSecrets {
  if ('plain' in secrets) return secrets.plain;
  return JSON.parse(vault.open('cluster', id, secrets.sealed).toString('utf8')) as ClusterSecrets;
}

export function sealSecrets(vault: Vault, secrets: ClusterSecrets): Cluster['secrets'] {
  return { sealed: vault.seal('cluster', 'self', Buffer.from(JSON.stringify(secrets))) };
}

const opened = new WeakMap<Cluster, Promise<Authority>>();

/** The authority as this record has it: opened once a record. */
export function authorityOf(cluster: Cluster, vault: Vault): Promise<Authority> {
  const known = opened.get(cluster);
  if (known !== undefined) return known;
  const { clusterId, caCertificatePem, certificateLifeMs: lifeMs, rotation } = cluster;
  const { caKeyPem, nextCaKeyPem } = openSecrets(vault, cluster);
  const next =
    rotation === undefined || nextCaKeyPem === undefined
      ? undefined
      : { caCertificatePem: rotation.caCertificatePem, caKeyPem: nextCaKeyPem };
  const material = { caCertificatePem, caKeyPem };
  const opening = openAuthority(clusterId, material, { next, ...(lifeMs === undefined ? {} : { lifeMs }) });
  opened.set(cluster, opening);
  return opening;
}

/** The tokens that go on until they are rotated. */
export function joinTokens(
  { joinSecrets }: ClusterSecrets,
  caDigest: string,
): { worker: string; manager: string } {
  const format = (secret: string): string => formatJoinToken({ caDigest, secret });
  return { worker: format(joinSecrets.worker), manager: format(joinSecrets.manager) };
}
