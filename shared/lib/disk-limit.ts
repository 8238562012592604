/** PURE. The limit of what a container writes over its image, as Docker's `storage_opt` says it. */
import { InvalidError } from '../errors/index.ts';
import { parseBytes } from './bytes.ts';

/** Less holds no more than the directories that a container needs for its mounts. */
export const MIN_DISK_BYTES = 1024 * 1024;

/** Bytes; undefined: no limit. Throws InvalidError. */
export function diskBytesOf(options: Readonly<Record<string, string>>): number | undefined {
  const { size, ...others } = options;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new InvalidError(`unknown option '${unknown}': size is the one that there is`);
  if (size === undefined) return undefined;
  const bytes = parseBytes(size);
  if (bytes === undefined) throw new InvalidError(`size '${size}': such as 10G or 512m is expected`);
  return bytes === 0 ? undefined : bytes;
}
