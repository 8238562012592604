/**
 * A manager's state directory made anew from a backup: its etcd, the data key, who the manager is. Everything is made and
 * looked at aside, and moved into place at the end; what was there is moved aside, never deleted.
 */
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConflictError, InvalidError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { findRunning, livingManagerOf, stopProcess } from '../store/etcd-process.ts';
import { SCHEMA_VERSION } from '../store/stored-schema.ts';
import { unpackArchive } from './archive.ts';
import { syncDirectory } from './backup-file.ts';
import { open } from './envelope.ts';
import type { Manifest } from './manifest.ts';
import { rebuildEtcd } from './rebuild-etcd.ts';
import { STATE_FILES } from './source.ts';

export interface RestoreOptions {
  readonly file: string;
  readonly passphrase?: string;
  readonly stateDir: string;
  /** A cluster that is there is moved aside. */
  readonly force: boolean;
  readonly logger: Logger;
  readonly now: () => number;
}

export interface Restored {
  readonly manifest: Manifest;
  /** Number of keys of the cluster that were restored. */
  readonly records: number;
  /** Where what was there is now. */
  readonly aside?: string;
}

const STOP_GRACE_MS = 5_000;
const ETCD = 'etcd';
/** Start of the name of the directory that a restore works in. */
const WORK = '.restore-';

/** Reads the whole file and resolves with its manifest; throws InvalidError unless it could be restored by this version. */
export async function checkBackup(
  file: string,
  passphrase: string | undefined,
  signal: AbortSignal,
  directory?: string,
): Promise<Manifest> {
  const bytes = createReadStream(file) as AsyncIterable<Buffer>;
  try {
    const manifest = await unpackArchive(open(bytes, passphrase), directory, signal);
    if (manifest.schemaVersion > SCHEMA_VERSION) throw newer(manifest);
    return manifest;
  } catch (error) {
    if (error instanceof Error && 'syscall' in error && 'path' in error && error.path === file) {
      throw new InvalidError(`the backup ${file} can not be read`, { cause: error });
    }
    throw error;
  }
}

function newer({ schemaVersion, shoalVersion }: Manifest): InvalidError {
  return new InvalidError(
    `the backup has schema version ${schemaVersion}, written by Shoal ${shoalVersion}; this version knows those up to ` +
      `${SCHEMA_VERSION}: restore it with Shoal ${shoalVersion} or a later one`,
  );
}

/**
 * Resolves when a manager that is started on `stateDir` brings the cluster back. Throws ConflictError when a cluster is
 * there (without `force`) or its manager runs, InvalidError for a backup that is damaged, newer or does not open; then
 * nothing has changed.
 */
export async function restore(options: RestoreOptions, signal: AbortSignal): Promise<Restored> {
  const { file, passphrase, stateDir, force, logger } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const there = await membersOf(stateDir);
  if (there.includes(ETCD) && !force) {
    throw new ConflictError(
      `${stateDir} holds a cluster already: --force moves it aside (nothing is deleted), --state-dir names another place`,
    );
  }
  await leftoverEtcd(join(stateDir, ETCD)); // before all the work, and once more after it
  await clearLeftovers(stateDir);
  const work = await mkdtemp(join(stateDir, WORK));
  try {
    const parts = join(work, 'parts');
    const manifest = await checkBackup(file, passphrase, signal, parts);
    const records = await rebuildEtcd({ manifest, parts, directory: join(work, ETCD), logger }, signal);
    await endEtcd(join(stateDir, ETCD));
    const aside = await moveAside(stateDir, there, options);
    for (const [name, part] of STATE_FILES) await rename(join(parts, part), join(stateDir, name));
    await syncDirectory(stateDir);
    // Last: a state directory with an etcd is a cluster.
    await rename(join(work, ETCD), join(stateDir, ETCD));
    await syncDirectory(stateDir);
    return { manifest, records, ...(aside === undefined ? {} : { aside }) };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What of a manager's state is there. */
async function membersOf(stateDir: string): Promise<string[]> {
  const names = new Set([ETCD, ...STATE_FILES.map(([name]) => name)]);
  return (await readdir(stateDir)).filter((name) => names.has(name));
}

/** Of a restore that was killed: its etcd, and files with the data key in them. */
async function clearLeftovers(stateDir: string): Promise<void> {
  for (const name of (await readdir(stateDir)).filter((one) => one.startsWith(WORK))) {
    await endEtcd(join(stateDir, name, ETCD));
    await rm(join(stateDir, name), { recursive: true, force: true });
  }
}

/** An etcd whose manager was killed goes on by itself; all that it acknowledged is on disk, so it is ended. */
async function endEtcd(directory: string): Promise<void> {
  const etcd = await leftoverEtcd(directory);
  if (etcd !== undefined) await stopProcess(etcd, STOP_GRACE_MS);
}

/** The running etcd of the directory, if it has no manager; ConflictError when it has one. */
async function leftoverEtcd(directory: string): Promise<number | undefined> {
  const etcd = await findRunning(directory);
  const manager = etcd === undefined ? undefined : await livingManagerOf(etcd);
  if (manager === undefined) return etcd;
  throw new ConflictError(`the manager of ${dirname(directory)} runs (process ${manager}): stop it first`);
}

async function moveAside(
  stateDir: string,
  there: readonly string[],
  { now }: RestoreOptions,
): Promise<string | undefined> {
  if (there.length === 0) return undefined;
  const stamp = new Date(now()).toISOString().replace(/[-:]|\.\d+/g, '');
  const aside = await mkdtemp(join(stateDir, `before-restore-${stamp}-`));
  for (const name of there) await rename(join(stateDir, name), join(aside, name));
  return aside;
}
