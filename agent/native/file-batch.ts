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

/**
 * Makes directories, with those above them, (which stay as they are when they are there) and then files, in order and with one change of thread: a
 * dozen of Node's own calls take three times as long. Rejects with NativeError at the first that fails.
 */
export function writeBatch(directories: readonly NewDirectory[], files: readonly NewFile[]): Promise<void> {
  return settled((...rest) => write.async(JSON.stringify({ directories, files }), ...rest));
}
