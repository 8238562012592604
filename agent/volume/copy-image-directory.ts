/**
 * Copies a directory as an image shows it, without mounting it: layers from the bottom to the top, whiteouts honoured
 * (kernel documentation, filesystems/overlayfs.rst). Links in the path are not followed: they could lead to the host.
 */
import {
  chmod,
  copyFile,
  lchown,
  lstat,
  mkdir,
  readdir,
  readlink,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { constants, type Stats } from 'node:fs';
import { join } from 'node:path';

/** Does nothing when the image has no directory at `path`. `target` exists and is empty. */
export async function copyImageDirectory(
  layers: readonly string[],
  path: string,
  target: string,
): Promise<void> {
  for (const layer of layers.toReversed()) {
    const source = await plainDirectory(layer, path);
    if (source !== undefined) await copyTree(source.path, source.stats, target);
  }
}

/** The directory below the layer, unless one of its components is a link or missing. */
async function plainDirectory(
  layer: string,
  path: string,
): Promise<{ path: string; stats: Stats } | undefined> {
  let current = layer;
  let stats: Stats | undefined;
  for (const part of path.split('/').filter((name) => name !== '' && name !== '.')) {
    if (part === '..') return undefined;
    current = join(current, part);
    stats = await lstat(current).catch(() => undefined);
    if (stats === undefined || !stats.isDirectory()) return undefined;
  }
  return stats && { path: current, stats };
}

async function copyTree(source: string, stats: Stats, target: string): Promise<void> {
  for (const name of await readdir(source)) {
    const from = join(source, name);
    const to = join(target, name);
    const info = await lstat(from);
    const existing = await lstat(to).catch(() => undefined);
    if (existing !== undefined && !(existing.isDirectory() && info.isDirectory())) {
      await rm(to, { recursive: true, force: true });
    }
    if (isWhiteout(info)) continue;
    if (info.isDirectory()) {
      await mkdir(to, { recursive: true });
      await copyTree(from, info, to);
    } else if (info.isSymbolicLink()) {
      await symlink(await readlink(from), to);
      await lchown(to, info.uid, info.gid);
    } else if (info.isFile()) {
      await copyFile(from, to, constants.COPYFILE_FICLONE);
      await carry(to, info);
    }
  }
  await carry(target, stats);
}

function isWhiteout(info: Stats): boolean {
  return info.isCharacterDevice() && info.rdev === 0;
}

/** Owner before mode: chown clears the set-user-id bits. */
async function carry(path: string, info: Stats): Promise<void> {
  await lchown(path, info.uid, info.gid);
  await chmod(path, info.mode & 0o7777);
  await utimes(path, info.atime, info.mtime);
}
