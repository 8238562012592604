/** PURE. A container's log lines -> records as they go to a manager, many in one chunk. */
import type { LogsParams, StreamChunk } from '../../shared/model/node-methods/index.ts';
import { LineJoiner, type LogLine, parseLogLine, readHead } from './log-line.ts';

const MAX_LINE = 1 << 20;
const [SPACE, NEWLINE] = [0x20, 0x0a];
/** Below this a loop is quicker than a call of copyWithin. */
const SHORT_BYTES = 128;

type Choice = Omit<LogsParams, 'containerId' | 'follow' | 'tail'>;

export function wanted(line: Pick<LogLine, 'stream' | 'time'>, choice: Choice): boolean {
  return wantedStream(line.stream, choice) && !before(line.time, choice.sinceMs);
}

function wantedStream(stream: 1 | 2, choice: Choice): boolean {
  return stream === 1 ? choice.stdout : choice.stderr;
}

function before(time: string, ms: number | undefined): boolean {
  return ms !== undefined && Date.parse(time) < ms;
}

/** Goes on from block to block: a line's parts may be in several. */
export class RecordMaker {
  readonly #choice: Choice;
  readonly #joiner = new LineJoiner(MAX_LINE);
  /** True once a line was later than what is asked for: nothing more follows. */
  past = false;

  constructor(choice: Choice) {
    this.#choice = choice;
  }

  /**
   * Chunks of records `<time> <text>\n`, each chunk of one stream, in the order of the lines. `block` is whole lines. It is
   * written over: a record is shorter than the line that it is made of, so the records are moved together in it.
   */
  *chunks(block: Buffer): Generator<StreamChunk> {
    let [from, used] = [0, 0];
    let stream: 1 | 2 = 1;
    for (let start = 0, end = 0; start < block.length && !this.past; start = end + 1) {
      end = block.indexOf(NEWLINE, start);
      const head = readHead(block, start, end);
      if (head === undefined) continue;
      const isPart = head.partial || this.#joiner.waits(head.stream);
      if (!isPart && !this.#chosen(head.stream, block, start, head.timeEnd)) continue;
      if (used > from && (isPart || head.stream !== stream)) {
        yield { stream, data: block.subarray(from, used) };
        from = used;
      }
      stream = head.stream;
      if (isPart) {
        const joined = this.#join(Buffer.from(block.subarray(start, end)));
        if (joined !== undefined) yield joined;
        continue;
      }
      used = move(block, used, start, head.timeEnd);
      block[used] = SPACE;
      used = move(block, used + 1, head.textStart, end);
      block[used] = NEWLINE;
      used += 1;
    }
    if (used > from) yield { stream, data: block.subarray(from, used) };
  }

  #chosen(stream: 1 | 2, block: Buffer, start: number, timeEnd: number): boolean {
    const { sinceMs, untilMs } = this.#choice;
    if (!wantedStream(stream, this.#choice)) return false;
    return (
      (sinceMs === undefined && untilMs === undefined) ||
      this.#inTime(block.toString('latin1', start, timeEnd))
    );
  }

  #inTime(time: string): boolean {
    const { sinceMs, untilMs } = this.#choice;
    if (before(time, sinceMs)) return false;
    this.past = untilMs !== undefined && Date.parse(time) > untilMs;
    return !this.past;
  }

  #join(raw: Buffer): StreamChunk | undefined {
    const part = parseLogLine(raw);
    const line = part && this.#joiner.push(part);
    if (line === undefined || !wantedStream(line.stream, this.#choice) || !this.#inTime(line.time))
      return undefined;
    return {
      stream: line.stream,
      data: Buffer.concat([Buffer.from(`${line.time} `), line.text, Buffer.from('\n')]),
    };
  }
}

/** Moves the bytes from `start` to `end` down to `to`. Returns the end of the copy. */
function move(block: Buffer, to: number, start: number, end: number): number {
  if (to === start) return end;
  if (end - start > SHORT_BYTES) block.copyWithin(to, start, end);
  else for (let i = 0; i < end - start; i += 1) block[to + i] = block[start + i] ?? 0;
  return to + end - start;
}
