/**
 * The way from one root to another: begun, watched, ended. While it goes on both roots are trusted; nodes get certificates
 * of the next one, and managers show theirs of the present one. It ends when no node is left that needs the old one. Pure,
 * but for the making of a root.
 */
import { ConflictError } from '../../shared/errors/index.ts';
import type { Cluster, Node } from '../../shared/model/index.ts';
import type { Vault } from '../vault/seal.ts';
import { checkRoot, createRoot, type RootMaterial, trustRoot } from './authority.ts';
import { openSecrets, sealSecrets } from './cluster.ts';

export interface RotationRequest {
  /** Default: one is made. */
  readonly root?: RootMaterial | undefined;
  /** Nodes that are down are not waited for. */
  readonly skipDead: boolean;
}

/** Which nodes have a certificate of the next root, and which have not. */
export interface RotationProgress {
  readonly moved: readonly Node[];
  readonly waiting: readonly Node[];
  /** Down, and not waited for: they come back with a token. */
  readonly skipped: readonly Node[];
}

/**
 * The record with a rotation begun, or with the one that goes on told to skip nodes that are down. Throws ConflictError when
 * one goes on already, InvalidError for a root that can not be used.
 */
export async function begunRotation(
  cluster: Cluster,
  vault: Vault,
  { root, skipDead }: RotationRequest,
  nowMs: number,
): Promise<Cluster> {
  const { rotation } = cluster;
  if (rotation !== undefined) {
    if (root === undefined && skipDead) return { ...cluster, rotation: { ...rotation, skipDead } };
    throw new ConflictError(
      'a rotation of the CA is under way: wait for its end (shoal ca), or let it skip nodes that are down (shoal ca rotate --skip-dead)',
    );
  }
  const next = root === undefined ? await createRoot(cluster.clusterId, nowMs) : await checkRoot(root, nowMs);
  const { caCertificatePem } = next;
  if (trustRoot(caCertificatePem).digest === trustRoot(cluster.caCertificatePem).digest)
    throw new ConflictError('this certificate is the CA of the cluster already');
  return {
    ...cluster,
    rotation: { caCertificatePem, startedAtMs: nowMs, skipDead },
    caRotations: (cluster.caRotations ?? 0) + 1,
    secrets: sealSecrets(vault, { ...openSecrets(vault, cluster), nextCaKeyPem: next.caKeyPem }),
  };
}

/** Undefined when none goes on. */
export function rotationProgress(
  { rotation }: Pick<Cluster, 'rotation'>,
  nodes: Iterable<Node>,
): RotationProgress | undefined {
  if (rotation === undefined) return undefined;
  const { digest } = trustRoot(rotation.caCertificatePem);
  const progress = { moved: [] as Node[], waiting: [] as Node[], skipped: [] as Node[] };
  for (const node of nodes) {
    if (node.certificate?.issuer === digest) progress.moved.push(node);
    else if (rotation.skipDead && node.status === 'down') progress.skipped.push(node);
    else progress.waiting.push(node);
  }
  return progress;
}

/** The record once the rotation is done: the next root is the only one. */
export function endedRotation(cluster: Cluster, vault: Vault, nowMs: number): Cluster {
  // What the old root has signed for managers that were removed does not count any more either way.
  const { rotation, removedManagers: _, ...rest } = cluster;
  const { nextCaKeyPem, ...secrets } = openSecrets(vault, cluster);
  if (rotation === undefined || nextCaKeyPem === undefined) return cluster;
  return {
    ...rest,
    caCertificatePem: rotation.caCertificatePem,
    secrets: sealSecrets(vault, { ...secrets, caKeyPem: nextCaKeyPem }),
    updatedAtMs: nowMs,
  };
}
