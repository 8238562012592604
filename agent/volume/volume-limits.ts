/** How much a volume holds: a project quota of the file system that its directory is on. */
import { UnsupportedError } from '../../shared/errors/index.ts';
import { clearDiskLimit, setDiskLimit } from '../native/disk-limit.ts';
import { NativeError } from '../native/errors.ts';

export interface VolumeLimits {
  /** Of an empty directory. Rejects with UnsupportedError where the file system has no quotas. */
  set(directory: string, bytes: number): Promise<void>;
  /** Whether there was one or not. */
  clear(directory: string): Promise<void>;
}

export const QUOTAS: VolumeLimits = {
  async set(directory, bytes) {
    try {
      await setDiskLimit(directory, null, bytes);
    } catch (cause) {
      if (!(cause instanceof NativeError) || cause.code !== 'ENOTSUP') throw cause;
      throw new UnsupportedError(
        `volume option "size": quota size requested but no quota support: ${cause.detail}`,
        { cause },
      );
    }
  },
  clear: clearDiskLimit,
};
