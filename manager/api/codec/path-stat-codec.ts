/** PURE. A path in a container -> what docker cp reads from the header X-Docker-Container-Path-Stat. */
import type { PathStat } from '../../../shared/model/node-methods/index.ts';

/** Kinds of st_mode, inode(7), and their bits in Go's fs.FileMode, whose number clients expect. */
const KINDS: Readonly<Record<number, number>> = {
  0o140000: 2 ** 24, // socket
  0o120000: 2 ** 27, // symbolic link
  0o100000: 0,
  0o060000: 2 ** 26, // device
  0o040000: 2 ** 31, // directory
  0o020000: 2 ** 26 + 2 ** 21, // character device
  0o010000: 2 ** 25, // named pipe
};
const SPECIAL = [
  [0o4000, 2 ** 23],
  [0o2000, 2 ** 22],
  [0o1000, 2 ** 20],
] as const;

export function goFileMode(mode: number): number {
  const special = SPECIAL.reduce((sum, [bit, go]) => sum + ((mode & bit) === 0 ? 0 : go), 0);
  return (KINDS[mode & 0o170000] ?? 2 ** 19) + special + (mode & 0o777);
}

/** base64 of JSON. */
export function encodePathStat(stat: PathStat): string {
  const seconds = new Date(stat.mtimeSeconds * 1000).toISOString().slice(0, 19);
  const value = {
    name: stat.name,
    size: stat.sizeBytes,
    mode: goFileMode(stat.mode),
    mtime: `${seconds}.${String(stat.mtimeNanos).padStart(9, '0')}Z`,
    linkTarget: stat.linkTarget,
  };
  return Buffer.from(JSON.stringify(value)).toString('base64');
}
