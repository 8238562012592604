/**
 * Keeps an embedded etcd small: forgets old revisions, gives their space back, and takes the NOSPACE alarm back once
 * there is space again. Not for an external etcd: that one has its own administrator.
 */
import { copyFile, stat, truncate } from 'node:fs/promises';
import type { Etcd3 } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { logPath } from './etcd-process.ts';

export interface MaintenanceOptions {
  readonly client: Etcd3;
  /** The embedded etcd's directory, whose log is kept small. */
  readonly directory?: string;
  readonly logger: Logger;
  /** How often it is looked whether etcd is out of space. Default 10 s. */
  readonly checkMs?: number;
  /** How long revisions are kept, at least, for mirrors that have lost touch. Default 5 minutes. */
  readonly historyMs?: number;
}

const CHECK_MS = 10_000;
const HISTORY_MS = 300_000;
/** etcd stands still while it defragments: only when at least half of so much is free. */
const DEFRAGMENT_FROM_BYTES = 64 * 1024 * 1024;
const MAINTENANCE_TIMEOUT_MS = 60_000;
const LOG_KEEP_BYTES = 16 * 1024 * 1024;

/** Looks after etcd until the signal aborts. Never rejects; what fails is tried again at the next turn. */
export async function maintainEtcd(options: MaintenanceOptions, signal: AbortSignal): Promise<void> {
  const { checkMs = CHECK_MS, historyMs = HISTORY_MS, logger } = options;
  let rememberedRevision = 0;
  let compactAtMs = Date.now() + historyMs;
  while (!signal.aborted) {
    await delay(checkMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await relieve(options);
      if (Date.now() < compactAtMs) continue;
      compactAtMs = Date.now() + historyMs;
      rememberedRevision = await compactTo(options.client, rememberedRevision);
      await defragmentIfWorthwhile(options);
      if (options.directory !== undefined) await shortenLog(logPath(options.directory));
    } catch (error) {
      logger.warn({ error: describeError(error) }, 'etcd could not be maintained just now');
    }
  }
}

/**
 * When etcd has raised NOSPACE (it then refuses every write): forgets all history, gives the space back, and takes the
 * alarm back. True when it had. Asks `status`, since asking for alarms writes to etcd's log.
 */
export async function relieve(options: MaintenanceOptions): Promise<boolean> {
  const { client, logger } = options;
  const { errors, dbSize, dbSizeInUse, header } = await client.maintenance.status();
  if (!errors.some((error) => error.includes('NOSPACE'))) return false;
  logger.error({ dbSize, dbSizeInUse }, 'etcd is out of space and refuses writes: compacting');
  const revision = await currentRevision(client);
  await client.kv.compact({ revision, physical: true }, slowly()).catch(ignoreCompacted);
  await client.maintenance.defragment(slowly());
  await client.maintenance.alarm({ action: 'Deactivate', memberID: header.member_id, alarm: 'Nospace' });
  const after = await client.maintenance.status();
  logger.warn({ dbSize: after.dbSize, dbSizeInUse: after.dbSizeInUse }, 'etcd takes writes again');
  return true;
}

/** Forgets what came before the revision of the last time; returns the present one for the next. */
async function compactTo(client: Etcd3, revision: number): Promise<number> {
  const current = await currentRevision(client);
  // Nothing new: an idle cluster writes nothing, a compaction would.
  if (revision > 0 && revision < current)
    await client.kv.compact({ revision }, slowly()).catch(ignoreCompacted);
  return current;
}

async function defragmentIfWorthwhile({ client, logger }: MaintenanceOptions): Promise<void> {
  const { dbSize, dbSizeInUse } = await client.maintenance.status();
  const size = Number(dbSize);
  if (size < DEFRAGMENT_FROM_BYTES || Number(dbSizeInUse) > size / 2) return;
  await client.maintenance.defragment(slowly());
  logger.info({ before: size, inUse: Number(dbSizeInUse) }, 'defragmented etcd');
}

/** etcd appends to the file that it was given: it is copied and cut, not renamed. */
async function shortenLog(path: string): Promise<void> {
  if ((await stat(path)).size < LOG_KEEP_BYTES) return;
  await copyFile(path, `${path}.1`);
  await truncate(path, 0);
}

async function currentRevision(client: Etcd3): Promise<number> {
  const { header } = await client.kv.range({ key: Buffer.from('/'), limit: 1 });
  return Number(header.revision);
}

function slowly(): { deadline: number } {
  return { deadline: Date.now() + MAINTENANCE_TIMEOUT_MS };
}

/** Somebody else, or etcd by itself, has compacted that far already. */
function ignoreCompacted(error: unknown): void {
  if (!(error instanceof Error && error.message.includes('has been compacted'))) throw error;
}
