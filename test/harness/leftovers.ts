/**
 * What a killed run of the unit tests leaves on the machine: containers with their monitors, cgroups, files in memory.
 * Each of them carries the pid of the process that made it in its name, and is somebody's as long as that one lives.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { cgroupRoots, killCgroup, removeCgroup } from '../../deploy/local/cgroups.ts';
import { clusterProcesses, readProcess, signalProcess, waitGone } from '../../deploy/local/proc.ts';

const GONE_MS = 30_000;
const MEMORY = '/dev/shm';

/** `/shoal-test-NAME-PID-...` below the roots of the cgroup hierarchies, `shoal-test-NAME-PID-...` in memory. */
export function leftoverName(name: string): string {
  return `shoal-test-${name}-${process.pid}-`;
}

/** Removes what belongs to processes that live no more. Safe beside other runs. */
export async function removeLeftovers(): Promise<void> {
  await removeFaketimeFiles();
  for (const directory of await leftoversIn([MEMORY])) {
    // Monitors first: they are not in their containers' cgroups.
    const monitors = await clusterProcesses(directory, directory);
    for (const monitor of monitors) await signalProcess(monitor, 'SIGKILL');
    await waitGone(monitors, GONE_MS);
    await rm(directory, { recursive: true, force: true });
  }
  for (const name of new Set((await leftoversIn(await cgroupRoots())).map((each) => path.basename(each)))) {
    await killCgroup(name, GONE_MS);
    await removeCgroup(name);
  }
}

/** libfaketime leaves a semaphore and a page of memory behind for each process that is killed; they carry its pid. */
export async function removeFaketimeFiles(): Promise<void> {
  for (const name of await readdir(MEMORY)) {
    const pid = /^(?:sem\.)?faketime_(?:shm|sem)_(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && (await readProcess(Number(pid))) === undefined)
      await rm(path.join(MEMORY, name), { force: true });
  }
}

async function leftoversIn(parents: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const parent of parents) {
    for (const name of await readdir(parent)) {
      const pid = /^shoal-test-[a-z-]+-(\d+)-/.exec(name)?.[1];
      if (pid !== undefined && (await readProcess(Number(pid))) === undefined)
        found.push(path.join(parent, name));
    }
  }
  return found;
}
