import { closeSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errorParameter, NativeError, type NativeFailure } from './errors.ts';
import { library, nativeDir } from './library.ts';
import { answered } from './settled.ts';

const makeWord = library.func('shoal_start_word', 'int', [errorParameter]);
const makeMonitor = library.func('shoal_monitor_ready', 'int', ['str', errorParameter]);

/** An eventfd takes eight bytes, in the machine's order. */
const YES = Buffer.from(new BigUint64Array([1n]).buffer);

/** Said to a container that is still being made: its command may run as soon as it can. */
class StartWord {
  readonly descriptor: number;
  #isOpen = true;

  /** Throws NativeError when the process has no descriptor left. */
  constructor() {
    const failure: Partial<NativeFailure> = {};
    const made = makeWord(failure) as number;
    if (made < 0) throw new NativeError(-made, failure.step ?? '', failure.detail ?? '');
    this.descriptor = made;
  }

  /** Once. */
  say(): void {
    if (this.#isOpen) writeSync(this.descriptor, YES);
  }

  close(): void {
    closeSync(this.descriptor);
    this.#isOpen = false;
  }
}

/**
 * `create` gets the descriptor of a word that is said when `ready` resolves, if `mayStart` then; later than the container
 * is made it is not. Without `ready` there is no word.
 */
export async function withStartWord<T>(
  ready: Promise<unknown> | undefined,
  mayStart: () => boolean,
  create: (startWord: number | undefined) => Promise<T>,
): Promise<T> {
  if (ready === undefined) return create(undefined);
  const word = new StartWord();
  ready.then(
    () => {
      if (mayStart()) word.say();
    },
    () => undefined,
  );
  try {
    return await create(word.descriptor);
  } finally {
    word.close();
  }
}

/**
 * Makes a monitor for a container to come, which ends with this process. Answers how many more the library would keep.
 * Rejects with NativeError.
 */
export function makeReadyMonitor(): Promise<number> {
  return answered((...rest) => makeMonitor.async(join(nativeDir, 'shoal-monitor'), ...rest));
}
