/**
 * Files of an image, read where its layers lie unpacked. An image is not to be trusted: a link in it is followed as a
 * process in its container would, over the merged layers, and never as a path of the node.
 */
import { constants } from 'node:fs';
import { lstat, open, readlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { isOpaque } from '../native/layer.ts';

/** An image may hold a huge file under any name; nobody's user database is larger. */
const MAX_BYTES = 1 << 20;
/** As the kernel has it. */
const MAX_LINKS = 40;

/** What a name stands for. A directory is merged from those of several layers, topmost first. */
type Entry =
  | { readonly kind: 'directory'; readonly paths: readonly string[] }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'file'; readonly path: string };

/** The text of a file, '' when there is no regular file under that name. `layers`: their directories, topmost first. */
export async function readImageFile(layers: readonly string[], path: string): Promise<string> {
  const found = await findFile(layers, path);
  if (found === undefined) return '';
  const file = await open(found, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return await readBounded(file);
  } finally {
    await file.close();
  }
}

/** The text of an open file of lines, at most 1 MiB of it and no line cut short; '' when it is no regular file. */
export async function readBounded(file: FileHandle): Promise<string> {
  const info = await file.stat();
  if (!info.isFile()) return '';
  const buffer = Buffer.alloc(Math.min(info.size, MAX_BYTES));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  const end = info.size > MAX_BYTES ? buffer.lastIndexOf('\n') + 1 : bytesRead;
  return buffer.toString('utf8', 0, end);
}

async function findFile(layers: readonly string[], path: string): Promise<string | undefined> {
  const above: (readonly string[])[] = [layers];
  const rest = path.split('/').toReversed();
  for (let links = 0, name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (above.length > 1) above.pop();
      continue;
    }
    const entry = await lookUp(above.at(-1) ?? [], name);
    if (entry === undefined) return undefined;
    if (entry.kind === 'file') return rest.length === 0 ? entry.path : undefined;
    if (entry.kind === 'directory') {
      above.push(entry.paths);
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) return undefined;
    if (entry.target.startsWith('/')) above.length = 1;
    rest.push(...entry.target.split('/').toReversed());
  }
  return undefined;
}

/** As overlayfs merges: the topmost layer that has the name decides; directories are merged until one hides the rest. */
async function lookUp(directories: readonly string[], name: string): Promise<Entry | undefined> {
  const paths: string[] = [];
  for (const directory of directories) {
    const path = join(directory, name);
    const info = await lstat(path).catch(() => undefined);
    if (info === undefined) continue;
    if (info.isDirectory()) {
      paths.push(path);
      if (isOpaque(path)) break;
      continue;
    }
    if (paths.length > 0) break;
    if (info.isSymbolicLink()) return { kind: 'link', target: await readlink(path) };
    // What is no regular file, a whiteout (a device 0/0) among them, is nothing that can be read.
    return info.isFile() ? { kind: 'file', path } : undefined;
  }
  return paths.length === 0 ? undefined : { kind: 'directory', paths };
}
