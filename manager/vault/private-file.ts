/** Files of a manager that hold keys. */
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes a file for its owner alone, as a whole or not at all; on disk for good when it resolves. */
export async function writePrivate(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const directory = await open(dirname(path), 'r');
  await directory.sync().finally(() => directory.close());
}
