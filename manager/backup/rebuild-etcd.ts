/** An embedded etcd's directory made from a backup, and looked at: it must serve the cluster that the backup names. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Etcd3 } from 'etcd3';
import { z } from 'zod';
import { InvalidError, NotFoundError } from '../../shared/errors/index.ts';
import { newId } from '../../shared/lib/ids.ts';
import type { Logger } from '../../shared/model/options.ts';
import { startEmbeddedEtcd } from '../store/embedded-etcd.ts';
import { createEtcdClient } from '../store/etcd-client.ts';
import { chooseFreePorts, dataDirectory, LOOPBACK } from '../store/etcd-process.ts';
import { ELECTION_PREFIX, etcdKey, prefixEnd, TABLES_PREFIX } from '../store/keys.ts';
import { rangePages } from '../store/range-pages.ts';
import { type Manifest, RECORDS_PART, SNAPSHOT_PART } from './manifest.ts';

export interface RebuildOptions {
  readonly manifest: Manifest;
  /** Where the backup's parts are. */
  readonly parts: string;
  /** Of the embedded etcd; made. */
  readonly directory: string;
  readonly logger: Logger;
}

/** etcd's own program for it: `etcdutl` since etcd 3.5, the only one since 3.6. */
const PROGRAMS = ['etcdutl', 'etcdctl'];
const PUTS_AT_ONCE = 100;
/** Below etcd's --max-request-bytes. */
const BYTES_AT_ONCE = 4 * 1024 * 1024;
const CALL_TIMEOUT_MS = 60_000;

const clusterSchema = z.object({ clusterId: z.string() });
const lineSchema = z.strictObject({ key: z.string().startsWith(TABLES_PREFIX), value: z.string() });

/** Resolves with the number of the cluster's keys; etcd has ended then. Throws InvalidError for what is no such cluster. */
export async function rebuildEtcd(options: RebuildOptions, signal: AbortSignal): Promise<number> {
  const { manifest, parts, directory, logger } = options;
  await mkdir(directory, { mode: 0o700 });
  const ports = await chooseFreePorts();
  if (manifest.store === 'etcd-snapshot') {
    await restoreSnapshot(join(parts, SNAPSHOT_PART), dataDirectory(directory), ports.peer, signal);
  }
  await using etcd = await startEmbeddedEtcd({ directory, ports, logger, signal });
  const client = createEtcdClient({ ...etcd.reach, callTimeoutMs: CALL_TIMEOUT_MS });
  try {
    if (manifest.store === 'records') await putRecords(client, manifest, parts);
    // The managers of then stand no more: their leases would keep the new one from leading until they end. They are none any
    // more either: this etcd has one member, whose manager writes its record when it starts.
    for (const prefix of [ELECTION_PREFIX, etcdKey('managers', '')]) {
      await client.kv.deleteRange({ key: Buffer.from(prefix), range_end: prefixEnd(prefix) });
    }
    await checkCluster(client, manifest);
    return await countKeys(client, signal);
  } finally {
    client.close();
    // Chosen for this run alone: the manager has its own.
    await rm(join(directory, 'ports.json'), { force: true });
  }
}

/**
 * The cluster token is a new one, so that etcd's cluster id is: whoever has a copy of what was there sees that this is
 * another history, though its revisions may be the same, and reads all anew.
 */
async function restoreSnapshot(
  file: string,
  data: string,
  peerPort: number,
  signal: AbortSignal,
): Promise<void> {
  const peer = `https://${LOOPBACK}:${peerPort}`;
  const args = [
    'snapshot',
    'restore',
    file,
    `--data-dir=${data}`,
    '--name=shoal',
    `--initial-cluster=shoal=${peer}`,
  ];
  args.push(`--initial-advertise-peer-urls=${peer}`, `--initial-cluster-token=shoal-${newId()}`);
  // etcd's programs take ETCDCTL_* variables as flags.
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ETCDCTL_API: '3' };
  for (const program of PROGRAMS) {
    try {
      await promisify(execFile)(program, args, { env, signal });
      return;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue;
      if (signal.aborted) throw error;
      throw new InvalidError(`${program} refuses the snapshot of etcd that is in the backup`, {
        cause: error,
      });
    }
  }
  throw new NotFoundError(
    'neither etcdutl nor etcdctl is on the PATH; deploy/prerequisites.sh installs it (Debian: etcd-client)',
  );
}

async function putRecords(client: Etcd3, manifest: Manifest, parts: string): Promise<void> {
  let success: { request_put: { key: Buffer; value: Buffer } }[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (success.length > 0) await client.kv.txn({ compare: [], success, failure: [] });
    [success, bytes] = [[], 0];
  };
  for (const { name } of manifest.parts.filter((part) => RECORDS_PART.test(part.name))) {
    // A page of the store, a few MiB at most. readline would split at U+2028 too, which JSON text may hold.
    const text = await readFile(join(parts, name), 'utf8');
    for (const line of text.split('\n').filter((one) => one !== '')) {
      const { key, value } = lineSchema.parse(JSON.parse(line));
      success.push({ request_put: { key: Buffer.from(key), value: Buffer.from(value) } });
      bytes += line.length;
      if (success.length === PUTS_AT_ONCE || bytes > BYTES_AT_ONCE) await flush();
    }
  }
  await flush();
}

async function checkCluster(client: Etcd3, manifest: Manifest): Promise<void> {
  const [found] = (await client.kv.range({ key: Buffer.from(`${TABLES_PREFIX}cluster/self`) })).kvs;
  if (found === undefined)
    throw new InvalidError('the backup holds no cluster: its record is not in the store');
  const cluster = clusterSchema.parse(JSON.parse(found.value.toString('utf8')));
  if (cluster.clusterId !== manifest.clusterId) {
    throw new InvalidError("the backup's store is of another cluster than its manifest says");
  }
}

async function countKeys(client: Etcd3, signal: AbortSignal): Promise<number> {
  for await (const page of rangePages(client, TABLES_PREFIX, signal)) return page.total;
  return 0;
}
