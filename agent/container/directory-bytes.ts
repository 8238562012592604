/** How much a directory holds, as du(1) counts it: a file with several names once. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes of its files. What goes while it is looked at is not counted; one that is not there holds none. */
export async function directoryBytes(path: string, signal: AbortSignal): Promise<number> {
  const seen = new Set<string>();
  let bytes = 0;
  const pending = [path];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    signal.throwIfAborted();
    const entries = await readdir(next, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const inner = join(next, entry.name);
      if (entry.isDirectory()) {
        pending.push(inner);
        continue;
      }
      const info = await lstat(inner).catch(() => undefined);
      if (info === undefined) continue;
      const key = `${info.dev}:${info.ino}`;
      if (info.nlink > 1 && seen.has(key)) continue;
      seen.add(key);
      bytes += info.size;
    }
  }
  return bytes;
}
