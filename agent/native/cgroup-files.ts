/** A container's control groups as files: freezing it, and what it uses. Both cgroup v1 and v2. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { delay } from '../../shared/lib/abort.ts';

const FREEZE_POLL_MS = 5;

/** Directories by controller; `unified` is the one of cgroup2. */
export type CgroupDirectories = ReadonlyMap<string, string>;

/** The list that the native library keeps in the run directory (RUN_CGROUPS of native/src/plan.h); empty when it is gone. */
export async function cgroupDirectories(runDir: string): Promise<CgroupDirectories> {
  const text = await readFile(join(runDir, 'cgroups'), 'utf8').catch(() => '');
  return new Map(
    text
      .split('\n')
      .map((line) => line.split(' '))
      .flatMap(([controller, path]) => (controller && path ? [[controller, path] as const] : [])),
  );
}

/** The text of a file of one controller; undefined when the kernel has no such file. */
export async function readCgroup(
  directories: CgroupDirectories,
  controller: string,
  file: string,
): Promise<string | undefined> {
  const directory = directories.get(controller);
  if (directory === undefined) return undefined;
  return readFile(join(directory, file), 'utf8').catch(() => undefined);
}

/** cgroup2's freezer where it is mounted (it is, in hybrid mode, beside v1's controllers), else v1's. */
function freezerOf(directories: CgroupDirectories) {
  const unified = directories.get('unified');
  if (unified !== undefined) {
    const file = join(unified, 'cgroup.freeze');
    const isFrozen = async () => /^frozen 1$/m.test(await readFile(join(unified, 'cgroup.events'), 'utf8'));
    return { file, on: '1', off: '0', isFrozen };
  }
  const freezer = directories.get('freezer');
  if (freezer === undefined) return undefined;
  const file = join(freezer, 'freezer.state');
  const isFrozen = async () => (await readFile(file, 'utf8')).trim() === 'FROZEN';
  return { file, on: 'FROZEN', off: 'THAWED', isFrozen };
}

/** False too for a container that is gone. */
export async function isFrozen(runDir: string): Promise<boolean> {
  const freezer = freezerOf(await cgroupDirectories(runDir));
  return (await freezer?.isFrozen().catch(() => false)) ?? false;
}

/**
 * Stops every process of the container where it is, or lets them go on; resolves once the kernel has done it. Rejects
 * with ENOENT when the container is gone.
 */
export async function setFrozen(runDir: string, frozen: boolean, signal: AbortSignal): Promise<void> {
  const freezer = freezerOf(await cgroupDirectories(runDir));
  if (freezer === undefined) throw Object.assign(new Error('the container is gone'), { code: 'ENOENT' });
  await writeFile(freezer.file, frozen ? freezer.on : freezer.off);
  // A process in an uninterruptible system call takes its time.
  while ((await freezer.isFrozen()) !== frozen) await delay(FREEZE_POLL_MS, signal);
}

/** Ids of all its processes, in the agent's pid namespace, those of groups below its own included. */
export async function cgroupProcesses(directories: CgroupDirectories): Promise<number[]> {
  const directory = directories.get('memory') ?? directories.get('unified');
  return directory === undefined ? [] : [...new Set(await processesBelow(directory))].sort((a, b) => a - b);
}

async function processesBelow(directory: string): Promise<number[]> {
  const text = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
  const own = text.split('\n').filter((line) => line !== '');
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = entries.filter((entry) => entry.isDirectory());
  const inner = await Promise.all(below.map((entry) => processesBelow(join(directory, entry.name))));
  return [...own.map(Number), ...inner.flat()];
}
