/** What a backup says of itself: of which cluster, of when, and the size and SHA-256 of each part. */
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';

/** etcd's own snapshot, of the embedded etcd. */
export const SNAPSHOT_PART = 'etcd.snapshot';
/** Of an external etcd: the cluster's keys, a JSON line each, in parts of some MiB. */
export const RECORDS_PART = /^records\/\d{6}\.jsonl$/;
/** Opens secrets and configs. */
export const DATA_KEY_PART = 'data-key';
/** Who the manager is for elections and sessions. */
export const MANAGER_ID_PART = 'manager-id';
export const MANIFEST = 'manifest.json';

const partSchema = z.strictObject({
  name: z.string(),
  bytes: z.number().int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const manifestSchema = z.strictObject({
  /** Of the archive; another number is another arrangement of parts. */
  format: z.literal(1),
  createdAtMs: z.number(),
  shoalVersion: z.string(),
  clusterName: z.string(),
  clusterId: z.string(),
  /** Of the records in the store; see manager/store/schema.ts. */
  schemaVersion: z.number().int().positive(),
  dataKeyId: z.string().exactOptional(),
  store: z.enum(['etcd-snapshot', 'records']),
  parts: z.array(partSchema),
});

export type BackupPart = Readonly<z.output<typeof partSchema>>;
export type Manifest = Readonly<z.output<typeof manifestSchema>>;
/** All but the parts, which are known when they are written. */
export type ManifestFacts = Omit<Manifest, 'parts' | 'format'>;

/** Throws InvalidError. */
export function parseManifest(text: string): Manifest {
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new InvalidError("the backup's manifest can not be read by this version", { cause });
  }
}

/** Only these names are ever written to a disk by a restore. */
export function isPartName(name: string): boolean {
  return [SNAPSHOT_PART, DATA_KEY_PART, MANAGER_ID_PART].includes(name) || RECORDS_PART.test(name);
}

/** Throws InvalidError, naming the part, unless what was found is exactly what the manifest lists. */
export function checkParts(manifest: Manifest, found: readonly BackupPart[]): void {
  const names = new Map(found.map((part) => [part.name, part]));
  if (names.size !== found.length) throw new InvalidError('the backup has two parts of one name');
  for (const { name, bytes, sha256 } of manifest.parts) {
    const part = names.get(name);
    if (part === undefined) throw new InvalidError(`the backup lacks its part ${name}`);
    if (part.bytes !== bytes || part.sha256 !== sha256) {
      throw new InvalidError(`the backup's part ${name} is not what was written: its SHA-256 differs`);
    }
    names.delete(name);
  }
  const [extra] = names.keys();
  if (extra !== undefined)
    throw new InvalidError(`the backup has a part ${extra} that its manifest does not know`);
}
