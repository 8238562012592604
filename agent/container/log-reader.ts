/** Reads a container's log file: a tail, a span of time, and on while it grows. */
import { watch } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { LogsParams, StreamChunk } from '../../shared/model/node-methods/index.ts';
import { LineJoiner, parseLogLine, type LogLine } from './log-line.ts';

const BLOCK = 64 * 1024;
const MAX_LINE = 1 << 20;
const NEWLINE = 0x0a;

/**
 * One chunk a line: `<time> <text>\n`. With `follow` it goes on until `ended` aborts and the file is read to its end,
 * or the signal aborts.
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
    const joiner = new LineJoiner(MAX_LINE);
    for await (const raw of lines(file, path, start, params.follow, ended, signal)) {
      const part = parseLogLine(raw);
      const line = part && joiner.push(part);
      if (line === undefined || !wanted(line, params)) continue;
      if (params.untilMs !== undefined && Date.parse(line.time) > params.untilMs) return;
      yield {
        stream: line.stream,
        data: Buffer.concat([Buffer.from(`${line.time} `), line.text, Buffer.from('\n')]),
      };
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
    for await (const raw of lines(file, path, 0, false, signal, signal, endBytes)) {
      const line = parseLogLine(raw);
      if (line === undefined || !wanted(line, streams)) continue;
      const data = line.partial ? line.text : Buffer.concat([line.text, Buffer.from('\n')]);
      yield { stream: line.stream, data };
    }
  } finally {
    await file.close();
  }
}

function wanted(line: LogLine, params: Pick<LogsParams, 'stdout' | 'stderr' | 'sinceMs'>): boolean {
  if (line.stream === 1 ? !params.stdout : !params.stderr) return false;
  return params.sinceMs === undefined || Date.parse(line.time) >= params.sinceMs;
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Raw lines from `offset` on, up to `end`. A last line without newline is not given: its rest is still being written. */
async function* lines(
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
  let rest: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const last = ended.aborted;
      const { bytesRead, buffer } = await file.read(
        Buffer.allocUnsafe(BLOCK),
        0,
        Math.min(BLOCK, end - position),
        position,
      );
      signal.throwIfAborted();
      if (bytesRead === 0) {
        if (growth === undefined || last) return;
        await growth.wait();
        continue;
      }
      position += bytesRead;
      rest =
        rest.length === 0
          ? buffer.subarray(0, bytesRead)
          : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      for (let at = rest.indexOf(NEWLINE); at >= 0; at = rest.indexOf(NEWLINE)) {
        yield rest.subarray(0, at);
        rest = rest.subarray(at + 1);
      }
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
  #wake: (() => void) | undefined;

  constructor(path: string, signal: AbortSignal) {
    this.#signal = signal;
    this.#watcher = watch(path, { persistent: false }, () => this.#poke());
    this.#watcher.on('error', () => this.#poke());
    signal.addEventListener('abort', this.#poke, { once: true });
  }

  async wait(): Promise<void> {
    if (!this.#grown && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#grown = false;
  }

  close(): void {
    this.#watcher.close();
    this.#signal.removeEventListener('abort', this.#poke);
  }

  #poke = (): void => {
    this.#grown = true;
    this.#wake?.();
    this.#wake = undefined;
  };
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
