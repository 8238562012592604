import { NativeError, type NativeFailure, errorParameter } from './errors.ts';
import { library } from './library.ts';

const ensure = library.func('shoal_tmpfs_ensure', 'int', ['str', 'str', errorParameter]);

/**
 * Makes sure that the existing directory is in memory: mounts a tmpfs (mode 0700) over it unless it is on one. Rejects
 * with NativeError when it can not be.
 */
export function ensureTmpfs(path: string, options: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failure = {} as NativeFailure;
    ensure.async(path, options, failure, (error: unknown, code: number) => {
      if (error) reject(error);
      else if (code < 0) reject(new NativeError(-code, failure.step, failure.detail));
      else resolve();
    });
  });
}
