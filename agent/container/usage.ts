/** What a container uses of processors and memory, from its control groups (v1 and v2), and nothing else: it is read often. */
import { cgroupDirectories, readCgroup } from '../native/cgroup-files.ts';
import { flatNumbers } from './stats-parse.ts';

export interface Usage {
  /** Since it was made. */
  readonly cpuNs: number;
  /** Without the file cache that nobody looked at lately: the kernel drops that before anything suffers. */
  readonly memoryBytes: number;
}

/** Undefined when the container is gone. */
export async function readUsage(runDir: string): Promise<Usage | undefined> {
  const directories = await cgroupDirectories(runDir);
  const v1 = directories.has('memory');
  const memory = v1 ? 'memory' : 'unified';
  const [cpu, used, stat] = await Promise.all([
    v1 ? readCgroup(directories, 'cpuacct', 'cpuacct.usage') : readCgroup(directories, 'unified', 'cpu.stat'),
    readCgroup(directories, memory, v1 ? 'memory.usage_in_bytes' : 'memory.current'),
    readCgroup(directories, memory, 'memory.stat'),
  ]);
  if (cpu === undefined || used === undefined) return undefined;
  const idleCache = flatNumbers(stat)[v1 ? 'total_inactive_file' : 'inactive_file'] ?? 0;
  return {
    cpuNs: v1 ? Number(cpu) : (flatNumbers(cpu)['usage_usec'] ?? 0) * 1000,
    memoryBytes: Math.max(0, Number(used) - idleCache),
  };
}
