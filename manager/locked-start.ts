/** A manager whose data keys are locked waits, before its etcd starts, for somebody who has the unlock key. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../shared/lib/clock.ts';
import { VERSION } from '../shared/lib/version.ts';
import type { ManagerOptions } from '../shared/model/options.ts';
import { listenUnix } from './api/listen.ts';
import { createLockedApi } from './api/locked.ts';
import { lockOf } from './vault/data-key-file.ts';

/**
 * The unlock key; undefined when the manager is not locked. Serves nothing but unlocking meanwhile; a file `locked` in the
 * run directory says so to who waits for the manager.
 */
export async function untilUnlocked(
  options: ManagerOptions,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const { stateDir, runDir, apiSocket, apiGroup, name, logger } = options;
  const note = join(runDir, 'locked');
  await rm(note, { force: true });
  const lock = await lockOf(stateDir);
  if (lock === undefined) return undefined;
  signal.throwIfAborted();
  let resolveKey: (key: Buffer) => void = () => undefined;
  const given = new Promise<Buffer>((resolve, reject) => {
    resolveKey = resolve;
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  // Nobody waits for it yet while the socket is opened.
  given.catch(() => undefined);
  const api = createLockedApi({
    ...{ version: VERSION, clusterName: name, logger, clock: systemClock },
    unlock: (text) => {
      const key = lock(text);
      return () => resolveKey(key);
    },
  });
  const server = await listenUnix(apiSocket, api, { group: apiGroup, mode: 0o660 });
  try {
    await writeFile(note, '');
    logger.warn({ api: apiSocket }, 'this manager is locked: docker swarm unlock, or shoal unlock');
    const key = await given;
    logger.info({}, 'unlocked');
    return key;
  } finally {
    await server.close();
    await rm(note, { force: true });
  }
}
