/** PURE. In which order things are mounted. */
import { posix } from 'node:path';

/** What is mounted over a directory must not hide what is mounted below it: as Docker has it, whatever was said first. */
export function outermostFirst<T>(mounts: readonly T[], targetOf: (mount: T) => string): T[] {
  const depth = (mount: T): number => posix.resolve('/', targetOf(mount)).split('/').length;
  return mounts.toSorted((a, b) => depth(a) - depth(b));
}
