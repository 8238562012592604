/**
 * A disk of the benchmark's own, as a node's usually is: ext4 as mkfs makes it, with a journal, here in a file in memory.
 * Without a journal ext4 takes no inode that was freed in the last minutes, and looks at each of them whenever it makes one:
 * every container that was started and removed before makes the next one slower.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rmdir, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { UndoStack } from '../../../shared/lib/undo-stack.ts';

const run = promisify(execFile);
const SIZE_BYTES = 8 * 2 ** 30;

/** Temporary files of this process and of what it starts are there from now on. Needs root. */
export async function useOwnDisk(undo: UndoStack): Promise<void> {
  const memory = await mkdtemp(join(tmpdir(), 'shoal-test-disk-'));
  undo.defer(() => rmdir(memory));
  await run('mount', ['-t', 'tmpfs', 'shoal-test-disk', memory]);
  undo.defer(() => run('umount', ['-l', memory]));
  const [image, disk] = [join(memory, 'image'), join(memory, 'disk')];
  await writeFile(image, '');
  await truncate(image, SIZE_BYTES);
  await run('mkfs.ext4', ['-q', image]);
  await mkdir(disk);
  await run('mount', ['-o', 'loop', image, disk]);
  // Whoever still ends, a peer's daemon in its own mount namespace among them, may be the last to leave it.
  undo.defer(() => run('umount', ['-l', disk]));
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = disk;
  undo.defer(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
}
