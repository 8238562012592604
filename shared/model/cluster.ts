import type { NodeRole } from './node.ts';
import type { Sealed } from './secret.ts';
import type { Labels } from './service.ts';

/** A join token that was made for a purpose, or a standing one that was rotated (then it is revoked). */
export interface JoinTokenRecord {
  readonly id: string;
  readonly role: NodeRole;
  /** SHA-256 of the secret, hexadecimal: the token itself is not kept. */
  readonly secretDigest: string;
  readonly createdAtMs: number;
  /** Absent: it goes on until it is revoked. */
  readonly expiresAtMs?: number;
  readonly revokedAtMs?: number;
}

/** The way to another root: both are trusted, and it ends once the nodes have certificates of the next. */
export interface CaRotation {
  /** The next root. */
  readonly caCertificatePem: string;
  readonly startedAtMs: number;
  /** Nodes that are down are not waited for. */
  readonly skipDead: boolean;
}

/** What only managers may know. */
export interface ClusterSecrets {
  /** Key of the root certificate. */
  readonly caKeyPem: string;
  /** Of the root that a rotation leads to. */
  readonly nextCaKeyPem?: string;
  /** Of the standing join tokens; the printed token adds the CA's digest. */
  readonly joinSecrets: { readonly worker: string; readonly manager: string };
  /** With what managers lock their data keys, base64. */
  readonly unlockKey?: string;
}

/** Once all managers have the next data key it is sealed with that, and all that was sealed before is sealed anew. */
export interface DataKeyRotation {
  /** Names the next key; that is `dataKeyId` once all managers have it. */
  readonly keyId: string;
  readonly startedAtMs: number;
}

/** The way to another root of the authority that is etcd's alone, between the managers. */
export interface EtcdRootRotation {
  /** Names the next root; it and its key are in the managers' state directories. */
  readonly name: string;
  readonly startedAtMs: number;
}

/** The record at /cluster/self. One a cluster. */
export interface Cluster {
  readonly id: 'self';
  readonly clusterId: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly caCertificatePem: string;
  /** Sealed with the data key, as JSON. In the clear only in data of before, until a manager starts on it. */
  readonly secrets: { readonly sealed: Sealed } | { readonly plain: ClusterSecrets };
  /** Tokens besides those. Absent: none. */
  readonly tokens?: readonly JoinTokenRecord[];
  /** Names the key that secrets, configs and the secrets here are sealed with; the key itself is in the managers' state directories. */
  readonly dataKeyId?: string;
  /** The way to another one. */
  readonly dataKeyRotation?: DataKeyRotation;
  /** When the last rotation of it was done. Absent: there was none. */
  readonly dataKeyChangedAtMs?: number;
  readonly etcdRootRotation?: EtcdRootRotation;
  /** When the last one was done. Absent: there was none. */
  readonly etcdRootChangedAtMs?: number;
  readonly addressPool: string;
  readonly subnetBits: number;
  readonly nodeDownAfterMs: number;
  readonly taskHistoryLimit: number;
  /** Managers lock their data keys, and need the unlock key when they start. */
  readonly autolock?: boolean;
  readonly rotation?: CaRotation;
  /** How often the root was asked to be another one: Docker's ForceRotate. Absent: never. */
  readonly caRotations?: number;
  /** How long certificates of nodes and managers are valid. Absent: 90 days. */
  readonly certificateLifeMs?: number;
  /** Managers whose certificates do not count any more, though the root has signed them. Absent: none. */
  readonly removedManagers?: readonly { readonly id: string; readonly removedAtMs: number }[];
  /** What users put there. */
  readonly labels?: Labels;
}
