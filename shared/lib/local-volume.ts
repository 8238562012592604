/**
 * PURE. The options of Docker's local volume driver: `type`, `device` and `o` say what mount(2) mounts; without them the
 * volume is a directory of the node, and `size` is how much it holds. (moby volume/local/local_unix.go names them and their errors.)
 */
import { describeError, InvalidError, UnsupportedError } from '../errors/index.ts';
import { diskBytesOf, MIN_DISK_BYTES } from './disk-limit.ts';

/** What Docker labels volumes with that have no name of their own. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

/** What mount(2) is given. */
export interface VolumeMount {
  readonly type: string;
  readonly source: string;
  /** MS_*, mount(2). */
  readonly flags: number;
  /** What the file system itself is told. */
  readonly data: string;
}

const MS_BIND = 4096;
const MS_REC = 16_384;

/** Words of mount(8) that are flags of mount(2); null: the default. */
const FLAGS: Readonly<Record<string, number | null>> = {
  defaults: null,
  rw: null,
  suid: null,
  dev: null,
  exec: null,
  async: null,
  atime: null,
  diratime: null,
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  mand: 64,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  bind: MS_BIND,
  rbind: MS_BIND | MS_REC,
  relatime: 1 << 21,
  strictatime: 1 << 24,
};
const REFUSED = [
  'remount',
  'move',
  'private',
  'rprivate',
  'shared',
  'rshared',
  'slave',
  'rslave',
  'unbindable',
];

/** Undefined: nothing is mounted. Throws InvalidError or UnsupportedError, which name the option. */
export function volumeMount(options: Readonly<Record<string, string>>): VolumeMount | undefined {
  for (const name of Object.keys(options))
    if (!['type', 'device', 'o', 'size'].includes(name)) throw new InvalidError(`invalid option: "${name}"`);
  const { type, device, o = '', size } = options;
  if (volumeBytes(options) !== undefined) {
    if (type === undefined && device === undefined && options['o'] === undefined) return undefined;
    throw new InvalidError(
      'volume option "size": not with type, device and o: what is mounted has its own size',
    );
  }
  if (Object.keys(options).length === (size === undefined ? 0 : 1)) return undefined;
  if (!device) throw new InvalidError('missing required option: "device"');
  if (!type) throw new InvalidError('missing required option: "type"');
  const { flags, data } = parseWords(o);
  const isBind = (flags & MS_BIND) !== 0;
  if (isBind && !device.startsWith('/'))
    throw new InvalidError(`volume option "device": "${device}" is not an absolute path`);
  if (type === 'none' && !isBind)
    throw new InvalidError('volume option "type": none needs the option o=bind');
  if (isBind && data !== '') throw new InvalidError(`volume option "o": ${data} has no meaning with bind`);
  return { type: isBind ? 'none' : type, source: device, flags, data };
}

/** How much the volume may hold; undefined: as much as there is room. Throws InvalidError. */
export function volumeBytes({ size }: Readonly<Record<string, string>>): number | undefined {
  try {
    const bytes = size === undefined ? undefined : diskBytesOf({ size });
    if (bytes === undefined || bytes >= MIN_DISK_BYTES) return bytes;
  } catch (cause) {
    throw new InvalidError(`volume option "size": ${describeError(cause)}`, { cause });
  }
  throw new InvalidError(`volume option "size": at least ${MIN_DISK_BYTES} bytes (1m) are expected`);
}

function parseWords(text: string): { flags: number; data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const word of text.split(',').filter((one) => one !== '')) {
    if (REFUSED.includes(word)) throw new UnsupportedError(`volume option "o": ${word} is not supported`);
    const flag = Object.hasOwn(FLAGS, word) ? FLAGS[word] : undefined;
    if (flag === undefined) data.push(word);
    else flags |= flag ?? 0;
  }
  return { flags, data: data.join(',') };
}

/** The host that an NFS or CIFS mount names; the kernel knows addresses only. */
export function serverOf({ data }: VolumeMount): string | undefined {
  return /(?:^|,)addr=([^,]+)/.exec(data)?.[1];
}

export function withServer(mount: VolumeMount, address: string): VolumeMount {
  return { ...mount, data: mount.data.replace(/(^|,)addr=[^,]+/, `$1addr=${address}`) };
}
