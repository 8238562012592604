/** PURE. Texts of /proc/<pid> -> the columns of `ps -ef` and `ps aux`, or any (proc_pid_stat(5), ps(1)). */
import { PS_COLUMNS, type PsColumn, type PsFormat } from '../../shared/lib/ps-columns.ts';

/** USER_HZ is 100 on all that Linux runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

const TITLES = {
  ef: ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'],
  aux: ['USER', 'PID', '%CPU', '%MEM', 'VSZ', 'RSS', 'TTY', 'STAT', 'START', 'TIME', 'COMMAND'],
} as const;

export function titlesOf(format: PsFormat): readonly string[] {
  return typeof format === 'string' ? TITLES[format] : format.map((column) => PS_COLUMNS[column]);
}

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
  readonly nice: number;
  readonly threads: number;
  readonly name: string;
  /** With its arguments. */
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
  const name = stat.slice(stat.indexOf('(') + 1, end);
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
    nice: at(16),
    threads: at(17),
    name,
    command: args === '' ? `[${name}]` : args,
  };
}

const CELLS: Readonly<Record<PsColumn, (process: Process, moment: Moment) => string>> = {
  pid: ({ pid }) => String(pid),
  ppid: ({ parent }) => String(parent),
  user: userText,
  euser: userText,
  uid: ({ uid }) => String(uid),
  euid: ({ uid }) => String(uid),
  comm: ({ name }) => name,
  ucmd: ({ name }) => name,
  args: ({ command }) => command,
  cmd: ({ command }) => command,
  command: ({ command }) => command,
  stat: ({ state }) => state,
  state: ({ state }) => state,
  s: ({ state }) => state,
  tty: ({ tty }) => ttyText(tty),
  tt: ({ tty }) => ttyText(tty),
  tname: ({ tty }) => ttyText(tty),
  time: ({ cpuSeconds }) => timeText(cpuSeconds, true),
  cputime: ({ cpuSeconds }) => timeText(cpuSeconds, true),
  etime: (process, moment) => elapsedText(ageOf(process, moment)),
  etimes: (process, moment) => String(Math.floor(ageOf(process, moment))),
  stime: (process, moment) => startText(moment.nowMs, ageOf(process, moment)),
  c: (process, moment) => String(Math.floor(cpuShare(process, moment))),
  pcpu: (process, moment) => cpuShare(process, moment).toFixed(1),
  '%cpu': (process, moment) => cpuShare(process, moment).toFixed(1),
  pmem: memoryText,
  '%mem': memoryText,
  vsz: ({ virtualBytes }) => kilobytes(virtualBytes),
  vsize: ({ virtualBytes }) => kilobytes(virtualBytes),
  rss: ({ residentBytes }) => kilobytes(residentBytes),
  rssize: ({ residentBytes }) => kilobytes(residentBytes),
  rsz: ({ residentBytes }) => kilobytes(residentBytes),
  nlwp: ({ threads }) => String(threads),
  thcount: ({ threads }) => String(threads),
  ni: ({ nice }) => String(nice),
  nice: ({ nice }) => String(nice),
};

const EF = [
  'user',
  'pid',
  'ppid',
  'c',
  'stime',
  'tname',
  'time',
  'cmd',
] as const satisfies readonly PsColumn[];
const AUX_FIRST = ['user', 'pid', 'pcpu', 'pmem', 'vsz', 'rss', 'tname', 'stat', 'stime'] as const;

export function formatProcess(process: Process, format: PsFormat, moment: Moment): string[] {
  const cells = (columns: readonly PsColumn[]): string[] =>
    columns.map((column) => CELLS[column](process, moment));
  if (format === 'aux') return [...cells(AUX_FIRST), timeText(process.cpuSeconds, false), process.command];
  return cells(format === 'ef' ? EF : format);
}

function ageOf({ startSeconds }: Process, { uptimeSeconds }: Moment): number {
  return Math.max(0, uptimeSeconds - startSeconds);
}

/** In per cent of one processor, since its start. */
function cpuShare(process: Process, moment: Moment): number {
  const ageSeconds = ageOf(process, moment);
  return ageSeconds === 0 ? 0 : (process.cpuSeconds / ageSeconds) * 100;
}

function memoryText({ residentBytes }: Process, { memoryBytes }: Moment): string {
  return ((residentBytes / memoryBytes) * 100).toFixed(1);
}

function userText({ uid }: Process): string {
  return uid === 0 ? 'root' : String(uid);
}

function kilobytes(bytes: number): string {
  return String(Math.round(bytes / 1024));
}

/** tty_nr of devpts: majors 136 to 143. */
function ttyText(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return major >= 136 && major <= 143 ? `pts/${(major - 136) * 256 + minor}` : '?';
}

const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');

/** [[DD-]hh:]mm:ss */
function elapsedText(seconds: number): string {
  const hours = seconds / 3600;
  const days = hours >= 24 ? `${two(hours / 24)}-` : '';
  const whole = hours >= 1 ? `${two(hours % 24)}:` : '';
  return `${days}${whole}${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function timeText(seconds: number, withHours: boolean): string {
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
