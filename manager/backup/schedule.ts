/** Backups that the manager makes by itself, the newest few of which are kept. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { Logger } from '../../shared/model/options.ts';
import { backupName, isPartial, timeOfBackup, writeBackupFile } from './backup-file.ts';

export interface ScheduleOptions {
  readonly directory: string;
  readonly everyMs: number;
  /** Older ones are removed after each that succeeded; at least 1. */
  readonly keep: number;
  readonly clusterName: string;
  /** The bytes of a new one. */
  readonly create: (signal: AbortSignal) => AsyncIterable<Buffer>;
  readonly now: () => number;
  /** Of several managers the leader makes them. Default: this one does. */
  readonly leads?: () => boolean;
  readonly logger: Logger;
}

/** One that is overdue waits this long: a manager that starts has other things to do first. */
const OVERDUE_MS = 60_000;
const RETRY_MS = 600_000;
/** How soon a manager that has come to lead sees that one is due. */
const NOT_LEADING_MS = 60_000;

/** Makes backups until the signal aborts. Counts from the newest in the directory, whoever made it. Never rejects. */
export async function keepBackups(options: ScheduleOptions, signal: AbortSignal): Promise<void> {
  const { everyMs, logger, directory, now } = options;
  let failed = false;
  while (!signal.aborted) {
    const dueInMs = failed ? Math.min(everyMs, RETRY_MS) : await dueIn(options);
    await delay(dueInMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    if (options.leads?.() === false) {
      await delay(NOT_LEADING_MS, signal).catch(() => undefined);
      continue;
    }
    try {
      const path = join(directory, backupName(options.clusterName, now()));
      const bytes = await backUpOnce(options, path, signal);
      failed = false;
      logger.info({ path, bytes }, 'made a backup');
    } catch (error) {
      if (signal.aborted) return;
      failed = true;
      logger.error(
        { directory, reason: describeError(error) },
        'a scheduled backup failed and is tried again',
      );
    }
  }
}

async function dueIn({ directory, clusterName, everyMs, now }: ScheduleOptions): Promise<number> {
  const newest = await newestBackup(directory, clusterName);
  const atMs = Math.min((newest ?? 0) + everyMs, now() + everyMs); // a clock that was ahead must not stop backups
  return Math.max(atMs - now(), Math.min(everyMs, OVERDUE_MS));
}

/** When the newest backup there was made; undefined when there is none. */
export async function newestBackup(directory: string, clusterName: string): Promise<number | undefined> {
  const names = await readdir(directory).catch(() => []);
  const times = names.flatMap((name) => timeOfBackup(clusterName, name) ?? []);
  return times.length === 0 ? undefined : Math.max(...times);
}

async function backUpOnce(options: ScheduleOptions, path: string, signal: AbortSignal): Promise<number> {
  const { directory, clusterName, keep } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    if (isPartial(clusterName, name)) await rm(join(directory, name)); // of a manager that was killed at it
  }
  const bytes = await writeBackupFile(path, options.create(signal));
  for (const name of superfluous(await readdir(directory), clusterName, keep))
    await rm(join(directory, name));
  return bytes;
}

/** Which of the files are backups of this cluster that are older than the newest `keep`. */
export function superfluous(names: readonly string[], clusterName: string, keep: number): string[] {
  const backups = names.filter((name) => timeOfBackup(clusterName, name) !== undefined).toSorted();
  return backups.slice(0, Math.max(0, backups.length - keep));
}
