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

const SPACE = 0x20;

/** Undefined for what is no such line (a torn write after a power cut). `line` is without its newline. */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const first = line.indexOf(SPACE);
  const second = line.indexOf(SPACE, first + 1);
  const third = line.indexOf(SPACE, second + 1);
  if (first < 20 || second < 0 || third < 0) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  const tag = line.toString('latin1', second + 1, third);
  if ((stream !== 'stdout' && stream !== 'stderr') || (tag !== 'F' && tag !== 'P')) return undefined;
  return {
    stream: stream === 'stdout' ? 1 : 2,
    time: line.toString('latin1', 0, first),
    partial: tag === 'P',
    text: line.subarray(third + 1),
  };
}

/** Joins parts of a line, a stream at a time. A line that never ends is cut at `maxBytes`. */
export class LineJoiner {
  readonly #parts = new Map<1 | 2, LogLine[]>();
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
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
