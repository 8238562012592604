/** PURE. What `docker top` may ask for in the words of ps(1): one of its customary ways, or columns by their names. */

/** Columns with their titles. */
export const PS_COLUMNS = {
  pid: 'PID',
  ppid: 'PPID',
  user: 'USER',
  euser: 'EUSER',
  uid: 'UID',
  euid: 'EUID',
  comm: 'COMMAND',
  ucmd: 'CMD',
  args: 'COMMAND',
  cmd: 'CMD',
  command: 'COMMAND',
  stat: 'STAT',
  state: 'S',
  s: 'S',
  tty: 'TT',
  tt: 'TT',
  tname: 'TTY',
  time: 'TIME',
  cputime: 'TIME',
  etime: 'ELAPSED',
  etimes: 'ELAPSED',
  stime: 'STIME',
  c: 'C',
  pcpu: '%CPU',
  '%cpu': '%CPU',
  pmem: '%MEM',
  '%mem': '%MEM',
  vsz: 'VSZ',
  vsize: 'VSZ',
  rss: 'RSS',
  rssize: 'RSS',
  rsz: 'RSZ',
  nlwp: 'NLWP',
  thcount: 'THCNT',
  ni: 'NI',
  nice: 'NI',
} as const;

export type PsColumn = keyof typeof PS_COLUMNS;

export type PsFormat = 'ef' | 'aux' | readonly PsColumn[];

const CUSTOMARY: Readonly<Record<string, 'ef' | 'aux'>> = {
  '': 'ef',
  '-ef': 'ef',
  aux: 'aux',
  '-aux': 'aux',
};

/** A container's processes are all shown, whatever the words say of which: `-e`, `-A`, `ax`. Undefined: it is not known. */
export function parsePsArgs(text: string): PsFormat | undefined {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const customary = CUSTOMARY[words.join(' ')];
  if (customary !== undefined) return customary;
  const lists: string[] = [];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (/^-?[eAax]+$/.test(word)) continue;
    const list = /^(?:-?[eAax]*o|--format(?:=|$))(.*)$/.exec(word)?.[1];
    if (list === undefined) return undefined;
    lists.push(list === '' ? (words.shift() ?? '') : list);
  }
  const names = lists.flatMap((list) => list.toLowerCase().split(','));
  const columns = names.filter((name): name is PsColumn => Object.hasOwn(PS_COLUMNS, name));
  return columns.length > 0 && columns.length === names.length ? columns : undefined;
}
