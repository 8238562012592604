import { errorParameter } from './errors.ts';
import { library } from './library.ts';
import { settled } from './settled.ts';

const write = library.func('shoal_file_batch_write', 'int', ['str', errorParameter]);

export interface NewDirectory {
  readonly path: string;
  readonly mode: number;
}

export interface NewFile {
  readonly path: string;
  readonly mode: number;
  readonly text: string;
  /** There is the old one or the new one as a whole, whoever is killed in the middle. */
  readonly replace?: true;
}

export interface FileBatch {
  readonly directories: readonly NewDirectory[];
  readonly files: readonly NewFile[];
}

/**
 * Makes directories (with those above them; one that is there stays as it is) and then files, in order and with one change
 * of thread: a dozen of Node's own calls take three times as long. Rejects with NativeError, whose step begins with
 * `files`, at the first that fails.
 */
export function writeBatch(batch: FileBatch): Promise<void> {
  return settled((...rest) => write.async(JSON.stringify(batch), ...rest));
}
