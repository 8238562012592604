/** The cluster's own part of the cgroup trees, whatever hierarchies the machine has: see cgroups(7). */
import { readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Mount points of all cgroup hierarchies, v1 and v2. */
export async function cgroupRoots(): Promise<string[]> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  return mounts
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .flatMap(([, target]) => (target === undefined ? [] : [target]));
}

/** Every directory at and below `cgroup` in all hierarchies, the deepest first. */
export async function cgroupDirectories(cgroup: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (directory: string): Promise<void> => {
    const entries = await readdir(directory, { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) return;
    for (const entry of entries) if (entry.isDirectory()) await visit(path.join(directory, entry.name));
    found.push(directory);
  };
  for (const root of await cgroupRoots()) await visit(path.join(root, cgroup));
  return found;
}

async function killOnce(directory: string): Promise<number> {
  await writeFile(path.join(directory, 'freezer.state'), 'THAWED').catch(() => undefined); // v1; absent elsewhere
  const text = await readFile(path.join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
  const pids = text.split('\n').filter((line) => line !== '');
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it ended meanwhile
    }
  }
  return pids.length;
}

/** Kills everything in the cluster's cgroups; gives up after `ms`, which removing the cgroups will show. */
export async function killCgroup(cgroup: string, ms: number): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    let alive = 0;
    for (const directory of await cgroupDirectories(cgroup)) alive += await killOnce(directory);
    if (alive === 0 || Date.now() >= end) return;
    await sleep(25);
  }
}

/** Removes the cluster's cgroups; what can not be removed stays (inventory tells). */
export async function removeCgroup(cgroup: string): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const directories = await cgroupDirectories(cgroup);
    if (directories.length === 0) return;
    for (const directory of directories) await rmdir(directory).catch(() => undefined);
    await sleep(attempt === 0 ? 0 : 50); // a killed process leaves its cgroup a little later
  }
}
