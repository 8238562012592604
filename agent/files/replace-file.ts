import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface ReplaceOptions {
  /** Of a new file; default 0600. */
  readonly mode?: number;
  /** Default: beside it, with `.new`. On the same file system. */
  readonly temporary?: string;
  /** Waits until a crash of the machine can not take it back. */
  readonly durable?: boolean;
}

/** Writes a file as a whole: whoever is killed in the middle leaves the old one or the new one. */
export async function replaceFile(
  path: string,
  content: string | Buffer,
  { mode = 0o600, temporary = `${path}.new`, durable = false }: ReplaceOptions = {},
): Promise<void> {
  const file = await open(temporary, 'w', mode);
  try {
    // One that a crash left behind keeps its mode when it is opened again.
    await file.chmod(mode);
    await file.writeFile(content);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  if (!durable) return;
  const directory = await open(dirname(path), 'r');
  await directory.sync().finally(() => directory.close());
}
