/** Archives in cpio's "newc" format, the one that the kernel unpacks as its first file system (initramfs). */

export type Entry = { readonly path: string } & (
  | { readonly kind: 'directory' }
  | { readonly kind: 'file'; readonly content: Buffer; readonly executable: boolean }
  | { readonly kind: 'link'; readonly target: string }
);

const MODES = { directory: 0o040755, file: 0o100644, executable: 0o100755, link: 0o120777 };
const TRAILER = 'TRAILER!!!';

/**
 * One archive of these entries, everything owned by root. Directories must come before what is in them.
 * Source: kernel, Documentation/driver-api/early-userspace/buffer-format.rst.
 */
export function cpioArchive(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap((entry, index) =>
    record(index + 1, entry.path, modeOf(entry), dataOf(entry)),
  );
  parts.push(...record(0, TRAILER, 0, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function modeOf(entry: Entry): number {
  if (entry.kind === 'file' && entry.executable) return MODES.executable;
  return MODES[entry.kind];
}

function dataOf(entry: Entry): Buffer {
  if (entry.kind === 'file') return entry.content;
  return Buffer.from(entry.kind === 'link' ? entry.target : '');
}

function record(inode: number, path: string, mode: number, data: Buffer): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

const padding = (size: number): Buffer => Buffer.alloc((4 - (size % 4)) % 4);
