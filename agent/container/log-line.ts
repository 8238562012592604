/**
 * PURE. Log lines as a monitor writes them: the CRI logging format of Kubernetes,
 * `<RFC3339Nano> stdout|stderr F|P <text>`; P marks a part of a line whose rest follows.
 */

export interface LogLine {
  readonly stream: 1 | 2;
  /** RFC3339 with nanoseconds, UTC. */
  readonly time: string;
  readonly partial: boolean;
  readonly text: Buffer;
}

/** Where a line's parts are: offsets into the buffer that holds it. */
interface LineHead {
  readonly stream: 1 | 2;
  readonly partial: boolean;
  /** End of the time, which begins the line. */
  readonly timeEnd: number;
  /** The text reaches to the line's end. */
  readonly textStart: number;
}

const SPACE = 0x20;
/** Of `2026-01-02T03:04:05.123456789Z`. */
const TIME_BYTES = 30;
const MIN_TIME_BYTES = 20;
/** Of ` stdout F `. */
const MARK_BYTES = 10;
const MARKS: ReadonlyMap<string, Pick<LineHead, 'stream' | 'partial'>> = new Map(
  (['stdout', 'stderr'] as const).flatMap((name) =>
    (['F', 'P'] as const).map((tag) => {
      const found = { stream: name === 'stdout' ? (1 as const) : (2 as const), partial: tag === 'P' };
      return [` ${name} ${tag} `, found] as const;
    }),
  ),
);
const STDOUT_WHOLE = Buffer.from(' stdout F ');

/** Of the line between the two offsets, without its newline. Undefined for what is no such line (a torn write). */
export function readHead(block: Buffer, start: number, end: number): LineHead | undefined {
  const usual = start + TIME_BYTES;
  const timeEnd = block[usual] === SPACE ? usual : block.indexOf(SPACE, start);
  const textStart = timeEnd + MARK_BYTES;
  if (timeEnd < start + MIN_TIME_BYTES || textStart > end) return undefined;
  // What nearly every line has costs no string.
  if (startsAt(block, timeEnd, STDOUT_WHOLE)) return { stream: 1, partial: false, timeEnd, textStart };
  const mark = MARKS.get(block.toString('latin1', timeEnd, textStart));
  return mark && { ...mark, timeEnd, textStart };
}

function startsAt(block: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i += 1) if (block[at + i] !== text[i]) return false;
  return true;
}

/** Undefined for what is no such line (a torn write after a power cut). `line` is without its newline. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const head = readHead(line, 0, line.length);
  if (head === undefined) return undefined;
  const { stream, partial, timeEnd, textStart } = head;
  return { stream, time: line.toString('latin1', 0, timeEnd), partial, text: line.subarray(textStart) };
}

/** Joins parts of a line, a stream at a time. A line that never ends is cut at `maxBytes`. */
export class LineJoiner {
  readonly #parts = new Map<1 | 2, LogLine[]>();
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True while parts of a line wait for their rest. */
  waits(stream: 1 | 2): boolean {
    return this.#parts.has(stream);
  }

  /** The whole line once it is whole. It carries the time of its first part. */
  push(line: LogLine): LogLine | undefined {
    const parts = this.#parts.get(line.stream) ?? [];
    parts.push(line);
    const size = parts.reduce((sum, part) => sum + part.text.length, 0);
    if (line.partial && size < this.#maxBytes) {
      this.#parts.set(line.stream, parts);
      return undefined;
    }
    this.#parts.delete(line.stream);
    return parts.length === 1
      ? { ...line, partial: false }
      : {
          stream: line.stream,
          time: parts[0]?.time ?? line.time,
          partial: false,
          text: Buffer.concat(parts.map((part) => part.text)),
        };
  }
}
