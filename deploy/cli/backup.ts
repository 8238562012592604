/** `shoal backup` and `shoal restore`. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { backupName, readPassphrase, writeBackupFile } from '../../manager/backup/backup-file.ts';
import { open, seal } from '../../manager/backup/envelope.ts';
import type { Manifest } from '../../manager/backup/manifest.ts';
import { ConflictError, UnavailableError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import { systemClock } from '../../shared/lib/clock.ts';
import { DEFAULT_NAME } from '../local/layout.ts';
import { signalOfInterrupts } from './fail.ts';
import { makeLogger } from './logger.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

interface BackupFlags extends SocketFlags {
  passphraseFile?: string;
}

export function addBackup(program: Command): void {
  const command = program
    .command('backup')
    .description('write the whole cluster to one file: what it is to run, its CA, its secrets and their key')
    .argument('[file]', 'a new file, or - for standard output (default: shoal-backup-NAME-TIME.shoalbackup)')
    .option('--passphrase-file <file>', 'encrypt it with the first line of this file');
  addSocketOptions(command).action(async (file: string | undefined, flags: BackupFlags) => {
    const signal = signalOfInterrupts();
    const passphrase = await passphraseOf(flags);
    const name = file ?? backupName(flags.name ?? DEFAULT_NAME, systemClock.now());
    if (name !== '-') await refuseExisting(name);
    const response = await clientOf(flags).stream('POST', '/backup', signal);
    // Opened and sealed again, encrypted or not: what did not come whole is noticed here.
    const bytes = seal(open(whole(response), undefined), passphrase);
    const size =
      name === '-' ? await toStandardOutput(bytes) : await writeBackupFile(path.resolve(name), bytes);
    process.stderr.write(`${name === '-' ? '' : `${name}: `}${size} bytes, ${protection(passphrase)}\n`);
  });
}

/** The manager ends the connection when it can not go on: it has no other way to say so by then. */
async function* whole(response: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* response;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new UnavailableError('the manager broke off; its log says why', { cause: error });
  }
}

function protection(passphrase: string | undefined): string {
  return passphrase === undefined
    ? "NOT encrypted: whoever reads it has the cluster's CA key and all its secrets (see --passphrase-file)"
    : 'encrypted';
}

async function passphraseOf(flags: { passphraseFile?: string }): Promise<string | undefined> {
  return flags.passphraseFile === undefined ? undefined : readPassphrase(flags.passphraseFile);
}

async function refuseExisting(file: string): Promise<void> {
  const exists = await access(file, constants.F_OK).then(
    () => true,
    () => false,
  );
  if (exists) throw new ConflictError(`${file} exists already: name another file`);
}

async function toStandardOutput(bytes: AsyncIterable<Buffer>): Promise<number> {
  let total = 0;
  for await (const chunk of bytes) {
    total += chunk.length;
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
    });
  }
  return total;
}

interface RestoreFlags {
  stateDir: string;
  passphraseFile?: string;
  force?: boolean;
  check?: boolean;
}

export function addRestore(program: Command): void {
  program
    .command('restore')
    .description("make a manager's state directory from a backup; start the manager then")
    .argument('<file>', 'what shoal backup, or a manager by itself, has written')
    .option('--state-dir <dir>', "the manager's", '/var/lib/shoal/manager')
    .option('--passphrase-file <file>', 'opens an encrypted backup: the first line of this file')
    .option('--force', 'move aside a cluster that is there')
    .option('--check', 'read and verify the whole file, say what it holds, change nothing')
    .action(async (file: string, flags: RestoreFlags) => {
      const signal = signalOfInterrupts();
      const passphrase = await passphraseOf(flags);
      const { checkBackup, restore } = await import('../../manager/backup/restore.ts');
      if (flags.check === true) {
        process.stdout.write(`${describe(await checkBackup(path.resolve(file), passphrase, signal))}\n`);
        return;
      }
      const { manifest, records, aside } = await restore(
        {
          file: path.resolve(file),
          ...(passphrase === undefined ? {} : { passphrase }),
          stateDir: path.resolve(flags.stateDir),
          force: flags.force === true,
          logger: makeLogger('error', 'restore'),
          now: () => systemClock.now(),
        },
        signal,
      );
      const moved = aside === undefined ? [] : [`what was there is in ${aside}`];
      const lines = [describe(manifest), `restored ${records} records to ${flags.stateDir}`, ...moved];
      lines.push('start the manager now: agents come back by themselves');
      const { lockOf } = await import('../../manager/vault/data-key-file.ts');
      if ((await lockOf(flags.stateDir)) !== undefined)
        lines.push(
          'it waits to be unlocked then, with the unlock key of when the backup was made: shoal unlock',
        );
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}

function describe(manifest: Manifest): string {
  const { clusterName, clusterId, createdAtMs, shoalVersion, schemaVersion, parts } = manifest;
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  return (
    `cluster ${clusterName} (${clusterId}) at ${new Date(createdAtMs).toISOString()}, Shoal ${shoalVersion}, ` +
    `schema ${schemaVersion}, ${parts.length} parts with ${bytes} bytes: whole`
  );
}
