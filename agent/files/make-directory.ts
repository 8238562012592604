import { mkdir } from 'node:fs/promises';

/** As `mkdir -p`. Node's own takes a full disk for a parent that is missing: asked again, without parents, it says which. */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(path, { mode });
  }
}
