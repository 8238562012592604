/** What goes into a backup: the store as it was at one moment, the data key, and who the manager is. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Etcd3 } from 'etcd3';
import { UnavailableError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { TABLES_PREFIX } from '../store/keys.ts';
import { rangePages } from '../store/range-pages.ts';
import { storedSchemaVersion } from '../store/schema.ts';
import { takeSnapshot } from '../store/snapshot.ts';
import type { Store } from '../store/store.ts';
import { mergeKeyTexts } from '../vault/data-key-file.ts';
import { packArchive, type PartSource } from './archive.ts';
import { seal } from './envelope.ts';
import { DATA_KEY_PART, MANAGER_ID_PART, SNAPSHOT_PART } from './manifest.ts';

export interface BackupSource {
  readonly client: Etcd3;
  readonly store: Store;
  /** An external etcd may hold what is not ours: of it only the cluster's own keys are taken. */
  readonly etcd: 'embedded' | 'external';
  readonly stateDir: string;
  readonly clusterName: string;
  readonly now: () => number;
}

/** Names of the files of a manager's state directory that belong to the cluster, and their parts. */
export const STATE_FILES: readonly (readonly [file: string, part: string])[] = [
  ['data-key', DATA_KEY_PART],
  ['id', MANAGER_ID_PART],
];

/**
 * The bytes of a backup file, no faster than they are taken; nothing is kept on disk meanwhile. It is a backup only when the
 * iteration ends without an error. Rejects with UnavailableError when etcd or a file can not be read.
 */
export async function* createBackup(
  source: BackupSource,
  passphrase: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const cluster = source.store.get('cluster', 'self');
  if (cluster === undefined) throw new UnavailableError('there is no cluster yet that could be backed up');
  const schemaVersion = await fromEtcd(() => storedSchemaVersion(source.client));
  const archive = packArchive(partsOf(source, signal), () => ({
    createdAtMs: source.now(),
    shoalVersion: VERSION,
    clusterName: source.clusterName,
    clusterId: cluster.clusterId,
    schemaVersion,
    ...(cluster.dataKeyId === undefined ? {} : { dataKeyId: cluster.dataKeyId }),
    store: source.etcd === 'embedded' ? 'etcd-snapshot' : 'records',
  }));
  yield* seal(archive, passphrase);
}

async function* partsOf(source: BackupSource, signal: AbortSignal): AsyncGenerator<PartSource> {
  const { client, etcd, stateDir } = source;
  const keysBefore = await readFile(join(stateDir, 'data-key'), 'utf8').catch(() => '');
  if (etcd === 'embedded') {
    yield { name: SNAPSHOT_PART, ...(await fromEtcd(() => takeSnapshot(client, signal))) };
  } else yield* recordParts(client, signal);
  // Before the store and after it: a key that was added or forgotten meanwhile is one more, a key that is missing would lose secrets.
  for (const [file, name] of STATE_FILES) {
    const read = await readFile(join(stateDir, file));
    const content =
      name === DATA_KEY_PART ? Buffer.from(mergeKeyTexts(read.toString('utf8'), keysBefore)) : read;
    yield { name, bytes: content.length, content: only(content) };
  }
}

/** All keys of the cluster as they were at one revision, a page a part. */
async function* recordParts(client: Etcd3, signal: AbortSignal): AsyncGenerator<PartSource> {
  let number = 0;
  for await (const page of rangePages(client, TABLES_PREFIX, signal)) {
    const lines = page.kvs.map((kv) =>
      JSON.stringify({ key: kv.key.toString('utf8'), value: kv.value.toString('utf8') }),
    );
    const content = Buffer.from(lines.map((line) => `${line}\n`).join(''));
    const name = `records/${String(number).padStart(6, '0')}.jsonl`;
    number += 1;
    yield { name, bytes: content.length, content: only(content) };
  }
}

async function* only(content: Buffer): AsyncGenerator<Buffer> {
  yield content;
}

async function fromEtcd<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new UnavailableError('etcd can not be read for the backup just now', { cause });
  }
}
