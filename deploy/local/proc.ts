/** Finds a cluster's processes in /proc: see proc(5). */
import { readFile, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** In the environment of all that a local cluster starts: the directory of its state. */
export const OWNER_VARIABLE = 'SHOAL_LOCAL_STATE';

/** The cluster's programs, which may be recognized by a path of the cluster among their arguments. */
function isOurProgram(args: readonly string[]): boolean {
  const program = path.basename(args[0] ?? '');
  if (program === 'etcd' || program === 'shoal-monitor') return true;
  // Not `shoal up --state-dir ...`, nor npm above it: they are who removes, and not what is removed.
  const command = args.findIndex((arg) => arg.endsWith('/deploy/cli/main.js'));
  return program === 'node' && command > 0 && ['manager', 'agent'].includes(args[command + 1] ?? '');
}

export interface ProcessInfo {
  readonly pid: number;
  readonly command: string;
  /** In clock ticks since boot: with the pid it names a process for good. */
  readonly startTime: string;
}

async function read(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined; // it ended meanwhile
  }
}

/** Undefined for a process that is gone, or dead and only not yet waited for. */
export async function readProcess(pid: number): Promise<ProcessInfo | undefined> {
  const [stat, cmdline] = await Promise.all([read(`/proc/${pid}/stat`), read(`/proc/${pid}/cmdline`)]);
  if (stat === undefined || cmdline === undefined) return undefined;
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [afterName[0], afterName[19]];
  if (state === 'Z' || state === 'X' || startTime === undefined) return undefined;
  return { pid, command: cmdline.split('\0').join(' ').trim(), startTime };
}

/** True when `text` is `directory` or a path below it, possibly after a `--flag=` or a URL's scheme. */
export function mentions(text: string, directory: string): boolean {
  const start = text.indexOf(directory);
  if (start < 0) return false;
  const before = text[start - 1];
  const after = text[start + directory.length];
  return (before === undefined || before === '=' || before === '/') && (after === undefined || after === '/');
}

/** A monitor has neither arguments nor an environment that tell, but its container's log and directory are open. */
async function holdsFileUnder(pid: number, stateDir: string, runDir: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  for (const fd of await readdir(directory).catch(() => [])) {
    const target = await readlink(path.join(directory, fd)).catch(() => '');
    if (mentions(target, stateDir) || mentions(target, runDir)) return true;
  }
  return false;
}

async function belongs(pid: number, stateDir: string, runDir: string): Promise<boolean> {
  const environment = await read(`/proc/${pid}/environ`);
  if (environment?.split('\0').includes(`${OWNER_VARIABLE}=${stateDir}`) === true) return true;
  const args = (await read(`/proc/${pid}/cmdline`))?.split('\0') ?? [];
  if (!isOurProgram(args)) return false;
  if (path.basename(args[0] ?? '') === 'shoal-monitor' && (await holdsFileUnder(pid, stateDir, runDir)))
    return true;
  return args.slice(1).some((arg) => mentions(arg, stateDir) || mentions(arg, runDir));
}

/** The live processes of the cluster with these directories, but not this one and those in `except`. */
export async function clusterProcesses(
  stateDir: string,
  runDir: string,
  except: readonly number[] = [],
): Promise<ProcessInfo[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const found: ProcessInfo[] = [];
  for (const pid of pids) {
    if (pid === process.pid || except.includes(pid)) continue;
    if (!(await belongs(pid, stateDir, runDir))) continue;
    const info = await readProcess(pid);
    if (info !== undefined) found.push(info);
  }
  return found;
}

/** Sends a signal unless the process is gone or its pid was given to another. */
export async function signalProcess(info: ProcessInfo, name: NodeJS.Signals): Promise<void> {
  const now = await readProcess(info.pid);
  if (now === undefined || now.startTime !== info.startTime) return;
  try {
    process.kill(info.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Resolves with those still alive after `ms`, as soon as there is none. */
export async function waitGone(processes: readonly ProcessInfo[], ms: number): Promise<ProcessInfo[]> {
  const end = Date.now() + ms;
  let left = [...processes];
  for (;;) {
    const alive: ProcessInfo[] = [];
    for (const info of left) {
      if ((await readProcess(info.pid))?.startTime === info.startTime) alive.push(info);
    }
    left = alive;
    if (left.length === 0 || Date.now() >= end) return left;
    await sleep(25);
  }
}
