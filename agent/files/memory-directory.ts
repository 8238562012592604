import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { ensureTmpfs, mountTmpfs } from '../native/tmpfs.ts';

/**
 * The directory of the agent that is in memory: on the tmpfs that /run usually is, else on one of its own, which stays
 * mounted when the agent ends. Undefined, with the reason in the log, when there can be none.
 */
export async function memoryDirectory(runDir: string, logger: Logger): Promise<string | undefined> {
  const directory = join(runDir, 'memory');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    await ensureTmpfs(directory, 'mode=0700');
    return directory;
  } catch (error) {
    logger.error(
      { directory, reason: describeError(error) },
      'nothing can be kept in memory: tasks with secrets or configs will be rejected',
    );
    return undefined;
  }
}

/** A file system in memory of its own at the path, of this size at most. It is empty, whatever was there before. */
export async function mountMemory(path: string, bytes: number): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  await mountTmpfs(path, `mode=1777,size=${bytes}`);
}
