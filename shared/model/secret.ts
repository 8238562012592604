/** Secrets and configs: small files that a cluster keeps sealed and gives to the containers that name them. */
import type { Labels } from './service.ts';

export type StoredFileKind = 'secret' | 'config';

export interface StoredFileSpec {
  readonly name: string;
  readonly labels: Labels;
  /** The contents are a template, filled in for each task (shared/lib/template.ts). */
  readonly templating?: 'golang';
}

/** AES-256-GCM under the cluster's data key. Bound to the record's kind and id, so that it opens nowhere else. */
export interface Sealed {
  /** Which data key. */
  readonly keyId: string;
  /** 96 random bits, base64. */
  readonly nonce: string;
  /** Ciphertext with the 128 bit tag at its end, base64. */
  readonly text: string;
}

/** The record at /secrets/<id> or /configs/<id>. The contents never change; another version is another record. */
export interface StoredFile {
  readonly id: string;
  readonly spec: StoredFileSpec;
  /** From 1; a stack's new contents are the next version, which takes the name over. */
  readonly version: number;
  /** A newer version has the name. */
  readonly replaced?: boolean;
  /** It is about to be deleted: no service may refer to it any more. */
  readonly removing?: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly sealed: Sealed;
}

export type Secret = StoredFile;
export type Config = StoredFile;

/** A secret or config as a container sees it. */
export interface FileReference {
  /** Id of the secret or config. Empty before the API has looked the name up. */
  readonly id: string;
  readonly name: string;
  readonly target: FileTarget;
}

export interface FileTarget {
  /** Absolute, or relative to /run/secrets (secrets) or / (configs). */
  readonly name: string;
  /** Numbers as text, as in the Docker API. */
  readonly uid: string;
  readonly gid: string;
  /** Permissions, e.g. 0o444. */
  readonly mode: number;
}

/** What a container has unless its service says otherwise (Docker's defaults). */
export const DEFAULT_FILE_MODE = 0o444;

/** Contents must be smaller (swarmkit, manager/controlapi: MaxSecretSize, MaxConfigSize). */
export const FILE_LIMIT_BYTES: Readonly<Record<StoredFileKind, number>> = {
  secret: 500 * 1024,
  config: 1000 * 1024,
};

/** Where a file is in its container. */
export function targetPath(kind: StoredFileKind, name: string): string {
  if (name.startsWith('/')) return name;
  return kind === 'secret' ? `/run/secrets/${name}` : `/${name}`;
}
