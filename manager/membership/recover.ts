/**
 * When most managers are lost for good etcd has no quorum and takes no write. This makes a cluster of one out of what a
 * surviving manager has; others join it again. What the lost ones had acknowledged and this one never received is gone.
 */
import { access, cp, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Etcd3 } from 'etcd3';
import { ConflictError, InvalidError } from '../../shared/errors/index.ts';
import type { Cluster } from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { startEmbeddedEtcd } from '../store/embedded-etcd.ts';
import { createEtcdClient } from '../store/etcd-client.ts';
import {
  chooseFreePorts,
  dataDirectory,
  findRunning,
  livingManagerOf,
  LOOPBACK,
  stopProcess,
} from '../store/etcd-process.ts';
import { ELECTION_PREFIX, etcdKey, prefixEnd } from '../store/keys.ts';
import { removeMember, listMembers } from './etcd-members.ts';
import { withRemoved } from './removed.ts';

export interface RecoverOptions {
  readonly stateDir: string;
  readonly logger: Logger;
  readonly now: () => number;
}

export interface Recovered {
  /** Ids of the managers that are managers no more. */
  readonly lost: readonly string[];
  /** Where etcd's data of before is. */
  readonly aside: string;
}

const STOP_GRACE_MS = 5_000;

/** Throws ConflictError while the manager runs, InvalidError where there is none. */
export async function recover(options: RecoverOptions, signal: AbortSignal): Promise<Recovered> {
  const { stateDir, logger } = options;
  const directory = join(stateDir, 'etcd');
  const id = await ownId(stateDir);
  await endLeftover(directory);
  const aside = await keepCopy(stateDir, directory, options.now());
  const ports = await chooseFreePorts();
  const member = { name: id, peerUrl: `https://${LOOPBACK}:${ports.peer}`, listenHost: LOOPBACK };
  await using etcd = await startEmbeddedEtcd({
    directory,
    ports,
    member,
    forceNewCluster: true,
    logger,
    signal,
  });
  const client = createEtcdClient(etcd.reach);
  try {
    return { lost: await forgetOthers(client, id, options.now()), aside };
  } finally {
    client.close();
  }
}

async function ownId(stateDir: string): Promise<string> {
  const id = await readFile(join(stateDir, 'id'), 'utf8').catch(() => '');
  const there = await access(join(dataDirectory(join(stateDir, 'etcd')), 'member')).then(
    () => true,
    () => false,
  );
  if (id.trim() !== '' && there) return id.trim();
  throw new InvalidError(
    `${stateDir} holds no manager with an etcd of its own: name its directory with --state-dir, or restore a backup`,
  );
}

async function endLeftover(directory: string): Promise<void> {
  const etcd = await findRunning(directory);
  if (etcd === undefined) return;
  const manager = await livingManagerOf(etcd);
  if (manager !== undefined)
    throw new ConflictError(`the manager of ${dirname(directory)} runs (process ${manager}): stop it first`);
  await stopProcess(etcd, STOP_GRACE_MS);
}

async function keepCopy(stateDir: string, directory: string, nowMs: number): Promise<string> {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const aside = join(stateDir, `before-recover-${stamp}`);
  await cp(dataDirectory(directory), aside, { recursive: true, errorOnExist: true, force: false });
  return aside;
}

/** etcd has put the other members out already; one that never voted may be left. Nobody of then stands for leader. */
async function forgetOthers(client: Etcd3, id: string, nowMs: number): Promise<string[]> {
  const { header } = await client.maintenance.status();
  for (const member of await listMembers(client))
    if (member.id !== header.member_id) await removeMember(client, member.id);
  await client.kv.deleteRange({ key: Buffer.from(ELECTION_PREFIX), range_end: prefixEnd(ELECTION_PREFIX) });
  const prefix = etcdKey('managers', '');
  const { kvs } = await client.kv.range({
    key: Buffer.from(prefix),
    range_end: prefixEnd(prefix),
    keys_only: true,
  });
  const lost = kvs.map((kv) => kv.key.toString().slice(prefix.length)).filter((one) => one !== id);
  if (lost.length > 0) await refuseFromNowOn(client, lost, nowMs);
  for (const one of lost) await client.kv.deleteRange({ key: Buffer.from(prefix + one) });
  return lost;
}

/** Their certificates do not count any more: should one come to life again, nodes know that it is none. */
async function refuseFromNowOn(client: Etcd3, ids: readonly string[], nowMs: number): Promise<void> {
  const key = Buffer.from(etcdKey('cluster', 'self'));
  const { kvs } = await client.kv.range({ key });
  const [record] = kvs;
  if (record === undefined) return;
  const next = withRemoved(JSON.parse(record.value.toString()) as Cluster, ids, nowMs);
  await client.kv.put({ key, value: Buffer.from(JSON.stringify(next)) });
}
