/** PURE. Options of a tmpfs as mount(8) writes them: what HostConfig.Tmpfs, TmpfsOptions and compose files have in common. */
import type { TmpfsOptions } from '../model/index.ts';

export const TMPFS_OPTIONS =
  'size=, mode=, uid=, gid=, ro, rw, exec, noexec, suid, nosuid, dev and nodev are supported';

const FLAGS: Readonly<Record<string, TmpfsOptions>> = {
  ro: { readOnly: true },
  rw: { readOnly: false },
  exec: { exec: true },
  noexec: { exec: false },
  suid: { suid: true },
  nosuid: { suid: false },
  dev: { dev: true },
  nodev: { dev: false },
};
const MAX_ID = 2 ** 32 - 2;

/** One option; undefined when it is none of them, or has no such value. */
export function parseTmpfsOption(option: string): TmpfsOptions | undefined {
  const flag = Object.hasOwn(FLAGS, option) ? FLAGS[option] : undefined;
  if (flag !== undefined) return flag;
  const [key = '', value = ''] = option.split('=', 2);
  switch (key) {
    case 'size':
      return named('sizeBytes', sizeOf(value));
    case 'mode':
      return named(
        'mode',
        /^(?:0o?)?[0-7]{1,4}$/.test(value) ? Number.parseInt(value.replace(/^0o/, ''), 8) : undefined,
      );
    case 'uid':
    case 'gid':
      return named(key, /^\d{1,10}$/.test(value) && Number(value) <= MAX_ID ? Number(value) : undefined);
    default:
      return undefined;
  }
}

function named(key: keyof TmpfsOptions, value: number | undefined): TmpfsOptions | undefined {
  return value === undefined ? undefined : { [key]: value };
}

function sizeOf(text: string): number | undefined {
  const match = /^(\d+)([kmg]?)b?$/i.exec(text);
  if (match === null) return undefined;
  const unit = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }[(match[2] ?? '').toLowerCase()] ?? 1;
  const bytes = Number(match[1]) * unit;
  return bytes >= 1 && Number.isSafeInteger(bytes) ? bytes : undefined;
}
