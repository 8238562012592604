/** The manager that leads brings stored data of an older release forward, once all managers are of this one. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Etcd3 } from 'etcd3';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { VERSION } from '../../shared/lib/version.ts';
import type { Logger, ManagerRecord } from '../../shared/model/index.ts';
import { writeBackupFile } from '../backup/backup-file.ts';
import { bringForward, holdingBack } from '../store/migrate.ts';
import { ContendedError } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { StoredSchema } from '../store/stored-schema.ts';

export interface ForwardOptions {
  readonly store: Store & { readonly client: Etcd3; readonly schema: StoredSchema };
  readonly leads: () => boolean;
  readonly backUp: (version: number, signal: AbortSignal) => Promise<void>;
  /** Told once the data is of today. */
  readonly done: () => Promise<unknown>;
  readonly logger: Logger;
}

const LOOK_MS = 1_000;
/** After a backup that failed, or data that a migration does not understand. */
const RETRY_MS = 60_000;

/** Until the signal aborts. Never rejects. */
export async function keepForward(options: ForwardOptions, signal: AbortSignal): Promise<void> {
  const { store, leads, done, logger } = options;
  let said = '';
  while (!signal.aborted) {
    let waitMs = LOOK_MS;
    try {
      if (!store.schema.settled && leads()) {
        const waitsFor = await bringForward({ ...options, client: store.client }, signal);
        const names = waitsFor.map(nameOf).join(', ');
        if (names !== said && names !== '')
          logger.info(
            { waitsFor: names },
            'stored data stays in its old form until these are upgraded, or removed',
          );
        said = names;
        if (waitsFor.length === 0) await done();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ContendedError)) {
        waitMs = RETRY_MS;
        logger.error(
          { error: describeError(error) },
          'the stored data is not brought forward, and tried again',
        );
      }
    }
    await delay(waitMs, signal).catch(() => undefined);
  }
}

/** How far the stored data is, for who asks. */
export function dataFacts(store: Pick<ForwardOptions['store'], 'schema' | 'all'>): {
  readonly version: number;
  readonly current: number;
  readonly waitsFor: readonly string[];
} {
  const { version, current, settled } = store.schema;
  const waiting = settled ? [] : holdingBack(store.all('managers').values(), current);
  return { version, current, waitsFor: waiting.map(nameOf) };
}

function nameOf({ hostname, version }: ManagerRecord): string {
  return `${hostname} (${version})`;
}

/**
 * The backup of before: kept beside the others and never removed by Shoal. One that is there already, of a migration that never began,
 * is replaced as a whole.
 */
export async function backUpBefore(
  version: number,
  options: {
    readonly directory: string;
    readonly clusterName: string;
    readonly create: (signal: AbortSignal) => AsyncIterable<Buffer>;
    readonly logger: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { directory, clusterName, create, logger } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, `shoal-before-${VERSION}-${clusterName}-schema-${version}.shoalbackup`);
  await writeBackupFile(path, create(signal));
  const { size: bytes } = await stat(path);
  logger.info({ path, bytes }, 'made a backup before the stored data is brought forward');
}
