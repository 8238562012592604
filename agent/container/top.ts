/** A container's processes as ps(1) shows them, from /proc/<pid>: no ps is needed, in the container or on the node. */
import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { cgroupDirectories, cgroupProcesses } from '../native/cgroup-files.ts';
import type { PsFormat } from '../../shared/lib/ps-columns.ts';
import { formatProcess, parseProcess, type Moment, type Process, titlesOf } from './top-format.ts';

export interface Top {
  readonly titles: readonly string[];
  readonly processes: readonly (readonly string[])[];
}

export async function readTop(runDir: string, format: PsFormat): Promise<Top> {
  const pids = await cgroupProcesses(await cgroupDirectories(runDir));
  const moment: Moment = {
    nowMs: Date.now(),
    uptimeSeconds: Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]),
    memoryBytes: totalmem(),
  };
  const processes = await Promise.all(pids.map((pid) => readProcess(pid)));
  return {
    titles: titlesOf(format),
    processes: processes.flatMap((process) =>
      process === undefined ? [] : [formatProcess(process, format, moment)],
    ),
  };
}

/** Undefined when it has ended meanwhile. */
async function readProcess(pid: number): Promise<Process | undefined> {
  try {
    const [stat, status, cmdline] = await Promise.all(
      ['stat', 'status', 'cmdline'].map((name) => readFile(`/proc/${pid}/${name}`, 'utf8')),
    );
    return parseProcess(pid, stat ?? '', status ?? '', cmdline ?? '');
  } catch {
    return undefined;
  }
}
