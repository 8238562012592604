/** A backup on disk: it has its name only once it is whole and will survive a power cut; nobody but its owner reads it. */
import { open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { InvalidError } from '../../shared/errors/index.ts';

const SUFFIX = '.shoalbackup';
const PARTIAL = '.partial';
const MIN_PASSPHRASE = 8;

/** `shoal-backup-NAME-20261231T235959Z.shoalbackup`: sorted by name is sorted by time. */
export function backupName(clusterName: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  return `shoal-backup-${clusterName}-${stamp}${SUFFIX}`;
}

/** The time that a name of `backupName` tells; undefined for any other name. */
export function timeOfBackup(clusterName: string, name: string): number | undefined {
  const [before, after] = [`shoal-backup-${clusterName}-`, SUFFIX];
  if (!name.startsWith(before) || !name.endsWith(after)) return undefined;
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(name.slice(before.length, -after.length));
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}

export function isPartial(clusterName: string, name: string): boolean {
  return name.endsWith(PARTIAL) && timeOfBackup(clusterName, name.slice(1, -PARTIAL.length)) !== undefined;
}

/** Resolves with the number of bytes; InvalidError where no file can be made. On failure nothing is left; an earlier file of that name is replaced as a whole. */
export async function writeBackupFile(path: string, bytes: AsyncIterable<Buffer>): Promise<number> {
  const partial = join(dirname(path), `.${basename(path)}${PARTIAL}`);
  let total = 0;
  try {
    await rm(partial, { force: true });
    const file = await open(partial, 'wx', 0o600);
    try {
      for await (const chunk of bytes) {
        await file.writeFile(chunk);
        total += chunk.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    const ours = error instanceof Error && 'syscall' in error && 'path' in error && error.path === partial;
    if (ours) throw new InvalidError(`${path} can not be written`, { cause: error });
    throw error;
  }
  await syncDirectory(dirname(path));
  return total;
}

/** What was renamed in it stays so after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  await directory.sync().finally(() => directory.close());
}

/** The first line of a file. Throws InvalidError when it can not be read or is too short to protect anything. */
export async function readPassphrase(path: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new InvalidError(`the passphrase file ${path} can not be read`, { cause });
  }
  const [line = ''] = text.split(/\r?\n/, 1);
  if (line.length < MIN_PASSPHRASE) {
    throw new InvalidError(
      `the first line of ${path} is no passphrase: at least ${MIN_PASSPHRASE} characters`,
    );
  }
  return line;
}
