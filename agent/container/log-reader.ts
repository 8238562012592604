/** Reads a container's log: a tail, a span of time, and on while it grows. */
import { watch } from 'node:fs';
import { dirname } from 'node:path';
import type { LogsParams, StreamChunk } from '../../shared/model/node-methods/index.ts';
import {
  logNumber,
  logNumbers,
  nextLogFile,
  oldestLogFile,
  openLogFile,
  type LogFile,
  type LogPlace,
} from './log-files.ts';
import { parseLogLine } from './log-line.ts';
import { RecordMaker, wanted } from './log-records.ts';
import { openTail } from './log-tail.ts';

const BLOCK = 64 * 1024;
const SMALL_BLOCK = 4 * 1024;
const NEWLINE = 0x0a;
/** A log that grows all the time is looked at this often, for many lines at once; one that was quiet, immediately. */
const PACE_MS = 20;

/**
 * Records `<time> <text>\n`, many a chunk, each chunk of one stream. Without `follow`: what the log has now. With it, until
 * `ended` aborts and the log is read to its end, or the signal aborts. The place in the log is all that is kept for a
 * reader, however far behind it is.
 */
export async function* readLog(
  path: string,
  params: Omit<LogsParams, 'containerId'>,
  ended: AbortSignal,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const { follow } = params;
  const end = follow ? undefined : await endOf(path);
  if ((await logNumbers(path)).length === 0) return;
  const records = new RecordMaker(params);
  const growth = follow ? new Growth(path, AbortSignal.any([ended, signal])) : undefined;
  try {
    const start = await openStart(path, params);
    if (start === undefined) return;
    for await (const block of blocks(path, start, { end, growth, ended }, signal)) {
      yield* records.chunks(block);
      if (records.past) return;
    }
  } finally {
    growth?.close();
  }
}

async function openStart(path: string, params: Omit<LogsParams, 'containerId'>): Promise<Start | undefined> {
  if (params.tail !== undefined) return openTail(path, params.tail, params);
  const file = await oldestLogFile(path);
  return file && { file, offset: 0 };
}

/** The log up to `end`, or all of it, as the container wrote it: no times, no line ends but its own. */
export async function* replayLog(
  path: string,
  end: LogPlace | undefined,
  streams: Pick<LogsParams, 'stdout' | 'stderr'>,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const upTo = end ?? (await endOf(path));
  const file = await oldestLogFile(path);
  if (file === undefined) return;
  for await (const block of blocks(path, { file, offset: 0 }, { end: upTo, ended: signal }, signal)) {
    for (const raw of linesOf(block)) {
      const line = parseLogLine(raw);
      if (line === undefined || !wanted(line, streams)) continue;
      const data = line.partial ? line.text : Buffer.concat([line.text, Buffer.from('\n')]);
      yield { stream: line.stream, data };
    }
  }
}

/** Blocks of whole lines after `from`, or all, and where each ends; until `ended` aborts and the log is read to its end. */
export async function* followLog(
  path: string,
  from: LogPlace | undefined,
  ended: AbortSignal,
  signal: AbortSignal,
): AsyncGenerator<{ readonly lines: readonly Buffer[]; readonly place: LogPlace }> {
  const growth = new Growth(path, AbortSignal.any([ended, signal]));
  try {
    const start = await openAfter(path, from);
    if (start === undefined) return;
    let place: LogPlace = { number: start.file.number, bytes: start.offset };
    const reached = (found: LogPlace): void => {
      place = found;
    };
    for await (const block of blocks(path, start, { growth, ended, reached }, signal))
      yield { lines: [...linesOf(block)], place };
  } finally {
    growth.close();
  }
}

/** A place whose file is gone is the beginning of what is left after it. */
async function openAfter(path: string, from: LogPlace | undefined): Promise<Start | undefined> {
  if (from === undefined) return startOf(await oldestLogFile(path));
  const file = await openLogFile(path, from.number);
  if (file !== undefined) return { file, offset: from.bytes };
  return startOf(await nextLogFile(path, from.number));
}

function startOf(file: LogFile | undefined): Start | undefined {
  return file && { file, offset: 0 };
}

/** How far the log goes now. */
async function endOf(path: string): Promise<LogPlace | undefined> {
  const number = (await logNumbers(path)).at(-1);
  const file = number === undefined ? undefined : await openLogFile(path, number);
  if (file === undefined) return undefined;
  try {
    return { number: file.number, bytes: (await file.handle.stat()).size };
  } finally {
    await file.handle.close();
  }
}

/** The lines of a block of whole lines, without their ends. */
function* linesOf(block: Buffer): Generator<Buffer> {
  for (let from = 0, at = block.indexOf(NEWLINE); at >= 0; from = at + 1, at = block.indexOf(NEWLINE, from))
    yield block.subarray(from, at);
}

interface Start {
  readonly file: LogFile;
  readonly offset: number;
}

interface Extent {
  /** Nothing beyond this place. */
  readonly end?: LogPlace | undefined;
  /** Tells of more; absent: what is there is all. */
  readonly growth?: Growth | undefined;
  readonly ended: AbortSignal;
  /** Told before each block where it ends. */
  readonly reached?: (place: LogPlace) => void;
}

/**
 * Whole lines from `start` on, from file to file; closes the files. A last line without newline is not given: its rest is
 * still being written, or was swallowed by a full disk.
 */
async function* blocks(
  path: string,
  start: Start,
  { end, growth, ended, reached }: Extent,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let { file, offset: position } = start;
  let next: LogFile | undefined;
  let isFinal = false;
  let size = BLOCK;
  let rest: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const last = ended.aborted;
      const length = Math.max(0, Math.min(size, limitOf(file, end) - position));
      const { bytesRead, buffer } = await file.handle.read(Buffer.allocUnsafe(length), 0, length, position);
      signal.throwIfAborted();
      if (bytesRead === 0) {
        if (end !== undefined && file.number >= end.number) return;
        if (isFinal && next !== undefined) {
          await file.handle.close();
          [file, next, position, isFinal, rest] = [next, undefined, 0, false, Buffer.alloc(0)];
          continue;
        }
        next = await nextLogFile(path, file.number);
        // It may have grown until the next one was begun.
        isFinal = next !== undefined;
        if (isFinal) continue;
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
      if (whole > 0) {
        reached?.({ number: file.number, bytes: position - rest.length });
        yield block.subarray(0, whole);
      }
      // At the end of the log what comes next is about as much as came now.
      const more = bytesRead === size;
      size = more ? BLOCK : Math.max(SMALL_BLOCK, Math.min(BLOCK, 2 * bytesRead));
      // What woke it may have been the next file's first lines, which nothing else would tell of.
      if (!more && !last && !isFinal && growth?.hasBegun(file.number + 1) !== true) await growth?.wait();
    }
  } finally {
    await file.handle.close();
    await next?.handle.close();
  }
}

function limitOf(file: LogFile, end: LogPlace | undefined): number {
  if (end === undefined || file.number < end.number) return Infinity;
  return file.number === end.number ? end.bytes : 0;
}

/** Wakes its waiter when the log was written to or the signal aborted. */
class Growth {
  readonly #watcher;
  readonly #signal: AbortSignal;
  #grown = true;
  #newest = -Infinity;
  #lastMs = -Infinity;
  #wake: (() => void) | undefined;

  constructor(path: string, signal: AbortSignal) {
    this.#signal = signal;
    // The directory: the log's next file is none that could be watched yet.
    this.#watcher = watch(dirname(path), { persistent: false }, (_event, name) => {
      const number = name === null ? Infinity : logNumber(path, name);
      if (number === undefined) return;
      this.#newest = Math.max(this.#newest, number);
      this.#poke();
    });
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

  /** The file with this number, or a later one, has been written to. */
  hasBegun(number: number): boolean {
    return this.#newest >= number;
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
