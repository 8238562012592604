/** Reads a container's log file: a tail, a span of time, and on while it grows. */
import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { LogsParams, StreamChunk } from '../../shared/model/node-methods/index.ts';
import { parseLogLine } from './log-line.ts';
import { RecordMaker, wanted } from './log-records.ts';

const BLOCK = 64 * 1024;
const SMALL_BLOCK = 4 * 1024;
const NEWLINE = 0x0a;
/** A log that grows all the time is looked at this often, for many lines at once; one that was quiet, immediately. */
const PACE_MS = 20;

/**
 * Records `<time> <text>\n`, many a chunk, each chunk of one stream. With `follow` it goes on until `ended` aborts and the
 * file is read to its end, or the signal aborts. The place in the file is all that is kept for a reader, however far
 * behind it is.
 */
export async function* readLog(
  path: string,
  params: Omit<LogsParams, 'containerId'>,
  ended: AbortSignal,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const file = await openLog(path);
  if (file === undefined) return;
  try {
    const start = params.tail === undefined ? 0 : await tailOffset(file, params.tail, params);
    const records = new RecordMaker(params);
    for await (const block of blocks(file, path, start, params.follow, ended, signal)) {
      yield* records.chunks(block);
      if (records.past) return;
    }
  } finally {
    await file.close();
  }
}

/** The first `endBytes` of the log as the container wrote it: no times, no line ends but its own. */
export async function* replayLog(
  path: string,
  endBytes: number,
  streams: Pick<LogsParams, 'stdout' | 'stderr'>,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const file = await openLog(path);
  if (file === undefined) return;
  try {
    for await (const block of blocks(file, path, 0, false, signal, signal, endBytes)) {
      for (const raw of linesOf(block)) {
        const line = parseLogLine(raw);
        if (line === undefined || !wanted(line, streams)) continue;
        const data = line.partial ? line.text : Buffer.concat([line.text, Buffer.from('\n')]);
        yield { stream: line.stream, data };
      }
    }
  } finally {
    await file.close();
  }
}

/** The lines of a block of whole lines, without their ends. */
function* linesOf(block: Buffer): Generator<Buffer> {
  for (let from = 0, at = block.indexOf(NEWLINE); at >= 0; from = at + 1, at = block.indexOf(NEWLINE, from))
    yield block.subarray(from, at);
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whole lines from `offset` on, up to `end`. A last line without newline is not given: its rest is still being written. */
async function* blocks(
  file: FileHandle,
  path: string,
  offset: number,
  follow: boolean,
  ended: AbortSignal,
  signal: AbortSignal,
  end = Infinity,
): AsyncGenerator<Buffer> {
  const growth = follow ? new Growth(path, AbortSignal.any([ended, signal])) : undefined;
  let position = offset;
  let size = BLOCK;
  let rest: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const last = ended.aborted;
      const length = Math.min(size, end - position);
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, position);
      signal.throwIfAborted();
      if (bytesRead === 0) {
        if (growth === undefined || last) return;
        await growth.wait();
        continue;
      }
      position += bytesRead;
      const block =
        rest.length === 0
          ? buffer.subarray(0, bytesRead)
          : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const whole = block.lastIndexOf(NEWLINE) + 1;
      rest = block.subarray(whole);
      if (whole > 0) yield block.subarray(0, whole);
      // At the end of the file what comes next is about as much as came now.
      const more = bytesRead === size;
      size = more ? BLOCK : Math.max(SMALL_BLOCK, Math.min(BLOCK, 2 * bytesRead));
      if (!more && !last) await growth?.wait();
    }
  } finally {
    growth?.close();
  }
}

/** Wakes its waiter when the file was written to or the signal aborted. */
class Growth {
  readonly #watcher;
  readonly #signal: AbortSignal;
  #grown = true;
  #lastMs = -Infinity;
  #wake: (() => void) | undefined;

  constructor(path: string, signal: AbortSignal) {
    this.#signal = signal;
    this.#watcher = watch(path, { persistent: false }, this.#poke);
    this.#watcher.on('error', this.#poke);
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Resolves when there is something to look at, at most once in PACE_MS; at once when the signal aborts. */
  async wait(): Promise<void> {
    if (!this.#grown) await this.#sleep();
    const earlyMs = this.#lastMs + PACE_MS - performance.now();
    if (earlyMs > 0 && !this.#signal.aborted) {
      const timer = setTimeout(() => this.#wake?.(), earlyMs);
      await this.#sleep();
      clearTimeout(timer);
    }
    this.#grown = false;
    this.#lastMs = performance.now();
  }

  close(): void {
    this.#watcher.close();
    this.#signal.removeEventListener('abort', this.#onAbort);
  }

  async #sleep(): Promise<void> {
    if (this.#signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #poke = (): void => {
    // While it is paced it sleeps on: the look that follows sees this too.
    if (this.#grown) return;
    this.#grown = true;
    this.#wake?.();
  };

  #onAbort = (): void => this.#wake?.();
}

/** Where the last `count` whole, wanted lines begin: reads blocks from the end. */
async function tailOffset(
  file: FileHandle,
  count: number,
  params: Omit<LogsParams, 'containerId'>,
): Promise<number> {
  const { size } = await file.stat();
  if (count === 0) return size;
  let start = size;
  let found = 0;
  let carried: Buffer = Buffer.alloc(0);
  while (start > 0) {
    const length = Math.min(BLOCK, start);
    start -= length;
    const { buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, start);
    const block = Buffer.concat([buffer, carried]);
    let end = block.lastIndexOf(NEWLINE);
    for (
      let from = block.lastIndexOf(NEWLINE, end - 1);
      end > 0 && from >= 0;
      from = block.lastIndexOf(NEWLINE, end - 1)
    ) {
      const line = parseLogLine(block.subarray(from + 1, end));
      if (line !== undefined && !line.partial && wanted(line, params)) {
        found += 1;
        if (found > count) return start + end + 1;
      }
      end = from;
      if (end === 0) break;
    }
    carried = Buffer.from(block.subarray(0, end + 1));
  }
  // The file's first line has no newline before it.
  const first = parseLogLine(carried.subarray(0, -1));
  return first !== undefined && !first.partial && wanted(first, params) && found === count
    ? carried.length
    : 0;
}
