/**
 * What becomes of containers when the machine goes down or starts anew: they are stopped as they would be one by one, while
 * the network is still there. systemd alone would send SIGTERM to what is left at the very end, which a container's first
 * process that does not handle it never sees, and wait for a minute and a half.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Logger } from '../../shared/model/index.ts';
import { waitContainer } from '../native/container.ts';
import type { Containers } from './containers.ts';
import type { ContainerRecord } from './record.ts';

/** The unit has half a minute more before it is ended itself. */
const MOST_GRACE_MS = 60_000;
const KILLED_WITHIN_MS = 10_000;

/** False where there is no systemd (sd_booted(3)) or it can not be asked. */
async function machineStops(): Promise<boolean> {
  if (!existsSync('/run/systemd/system')) return false;
  const asked = promisify(execFile)('systemctl', ['is-system-running'], { timeout: 5_000 });
  // Its exit code is 0 for `running` only.
  const { stdout } = await asked.catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }));
  return stdout.trim() === 'stopping';
}

/**
 * Does nothing unless the machine goes down. Resolves when no container runs any more. No end is recorded: as after a loss of
 * power, what ran is what a restart has ended, and a job that was told to stop has not completed.
 */
export async function stopWithMachine(containers: Containers, logger: Logger): Promise<void> {
  if (!(await machineStops())) return;
  const running = containers.list().filter(({ exit }) => exit === undefined);
  logger.info({ containers: running.length }, 'the machine goes down: containers are stopped');
  const outcomes = await Promise.allSettled(running.map((record) => stop(containers, record)));
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.status === 'rejected')
      logger.warn({ containerId: running[i]?.id, err: outcome.reason }, 'a container could not be stopped');
  }
}

async function stop(containers: Containers, record: ContainerRecord): Promise<void> {
  const stopGraceMs = Math.min(record.stopGraceMs, MOST_GRACE_MS);
  const over = new AbortController();
  const late = AbortSignal.timeout(MOST_GRACE_MS + KILLED_WITHIN_MS);
  const signal = AbortSignal.any([over.signal, late]);
  const ended = waitContainer(containers.runDirectory(record.id), signal);
  try {
    await containers.end({ ...record, stopGraceMs }, ended, signal);
  } finally {
    over.abort();
    await ended.catch(() => undefined);
  }
}
