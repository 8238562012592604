/** PURE. Texts of /proc/<pid> -> the columns of `ps -ef` and `ps aux` (proc_pid_stat(5), ps(1)). */

/** USER_HZ is 100 on all that Linux runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

export const TITLES = {
  ef: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
  aux: ['USER', 'PID', '%CPU', '%MEM', 'VSZ', 'RSS', 'TTY', 'STAT', 'START', 'TIME', 'COMMAND'],
} as const;

export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  readonly state: string;
  readonly tty: number;
  readonly cpuSeconds: number;
  /** Since the machine's start. */
  readonly startSeconds: number;
  readonly virtualBytes: number;
  readonly residentBytes: number;
  readonly command: string;
}

/** What ages and shares are counted against. */
export interface Moment {
  readonly nowMs: number;
  readonly uptimeSeconds: number;
  readonly memoryBytes: number;
}

export function parseProcess(pid: number, stat: string, status: string, cmdline: string): Process {
  // The name stands in parentheses and may hold any character, parentheses too.
  const end = stat.lastIndexOf(')');
  const fields = stat.slice(end + 2).split(' ');
  const at = (i: number): number => Number(fields[i] ?? 0);
  const args = cmdline.replace(/\0+$/, '').replaceAll('\0', ' ');
  return {
    pid,
    parent: at(1),
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0),
    state: fields[0] ?? '?',
    tty: at(4),
    cpuSeconds: (at(11) + at(12)) / TICKS_PER_SECOND,
    startSeconds: at(19) / TICKS_PER_SECOND,
    virtualBytes: at(20),
    residentBytes: at(21) * PAGE_BYTES,
    command: args === '' ? `[${stat.slice(stat.indexOf('(') + 1, end)}]` : args,
  };
}

export function formatProcess(process: Process, format: 'ef' | 'aux', moment: Moment): string[] {
  const { pid, parent, command } = process;
  const ageSeconds = Math.max(0, moment.uptimeSeconds - process.startSeconds);
  const cpu = ageSeconds === 0 ? 0 : (process.cpuSeconds / ageSeconds) * 100;
  const user = process.uid === 0 ? 'root' : String(process.uid);
  const start = startText(moment.nowMs, ageSeconds);
  const tty = ttyText(process.tty);
  if (format === 'ef') {
    const time = timeText(process.cpuSeconds, true);
    return [user, String(pid), String(parent), String(Math.floor(cpu)), start, tty, time, command];
  }
  const memory = (process.residentBytes / moment.memoryBytes) * 100;
  return [
    user,
    String(pid),
    cpu.toFixed(1),
    memory.toFixed(1),
    String(Math.round(process.virtualBytes / 1024)),
    String(Math.round(process.residentBytes / 1024)),
    tty,
    process.state,
    start,
    timeText(process.cpuSeconds, false),
    command,
  ];
}

/** tty_nr of devpts: majors 136 to 143. */
function ttyText(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return major >= 136 && major <= 143 ? `pts/${(major - 136) * 256 + minor}` : '?';
}

function timeText(seconds: number, withHours: boolean): string {
  const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');
  const rest = two(seconds % 60);
  return withHours
    ? `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${rest}`
    : `${Math.floor(seconds / 60)}:${rest}`;
}

/** Hours and minutes for the last day, else the date. UTC: the node's zone says nothing to who asks from elsewhere. */
function startText(nowMs: number, ageSeconds: number): string {
  const iso = new Date(nowMs - ageSeconds * 1000).toISOString();
  return ageSeconds < 86_400 ? iso.slice(11, 16) : iso.slice(5, 10);
}
