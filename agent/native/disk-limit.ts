import { errorParameter } from './errors.ts';
import { library } from './library.ts';
import { settled } from './settled.ts';

const check = library.func('shoal_disk_limit_check', 'int', ['str', errorParameter]);
const set = library.func('shoal_disk_limit_set', 'int', ['str', 'str', 'uint64_t', errorParameter]);
const clear = library.func('shoal_disk_limit_clear', 'int', ['str', errorParameter]);

/** Rejects with NativeError when the file system of the directory can not limit what is below one. */
export function checkDiskLimit(directory: string): Promise<void> {
  return settled((...rest) => check.async(directory, ...rest));
}

/**
 * What is written below the two directories, or the one, takes no more than so many bytes together. A second call changes
 * that. Rejects with NativeError.
 */
export function setDiskLimit(upper: string, work: string | null, bytes: number): Promise<void> {
  return settled((...rest) => set.async(upper, work, bytes, ...rest));
}

/** There is no limit any more, whether there was one or not. Rejects with NativeError. */
export function clearDiskLimit(upper: string): Promise<void> {
  return settled((...rest) => clear.async(upper, ...rest));
}
