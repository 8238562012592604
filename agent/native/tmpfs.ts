import { errorParameter } from './errors.ts';
import { library } from './library.ts';
import { settled } from './settled.ts';

const ensure = library.func('shoal_tmpfs_ensure', 'int', ['str', 'str', errorParameter]);
const mount = library.func('shoal_tmpfs_mount', 'int', ['str', 'str', errorParameter]);
const remove = library.func('shoal_tmpfs_remove', 'int', ['str', errorParameter]);

/**
 * Makes sure that the existing directory is in memory: mounts a tmpfs (mode 0700) over it unless it is on one. Rejects
 * with NativeError when it can not be.
 */
export function ensureTmpfs(path: string, options: string): Promise<void> {
  return settled((...rest) => ensure.async(path, options, ...rest));
}

/** Mounts a new tmpfs over the existing directory, in place of one that is mounted there. Rejects with NativeError. */
export function mountTmpfs(path: string, options: string): Promise<void> {
  return settled((...rest) => mount.async(path, options, ...rest));
}

/** Unmounts it; who has it mounted elsewhere keeps it. Idempotent. Rejects with NativeError. */
export function removeTmpfs(path: string): Promise<void> {
  return settled((...rest) => remove.async(path, ...rest));
}
