/** PURE. Log records as nodes send them, `<time> <text>\n` and many in a chunk, -> frames for a Docker client. */

const HEADER_BYTES = 8;
const [SPACE, NEWLINE] = [0x20, 0x0a];
/** Of `2026-01-02T03:04:05.123456789Z`. */
const TIME_BYTES = 30;
const MAX_TIME_BYTES = 64;
/** Below this a loop is quicker than Buffer.copy. */
const SHORT_BYTES = 128;

/** Puts records together again that were split on their way because they are long. One for each source. */
export class RecordJoiner {
  #rest: Buffer | undefined;

  /** What has come of a record that is not whole yet. */
  get rest(): Buffer | undefined {
    return this.#rest;
  }

  /** What is whole of it; may be empty. */
  push(data: Buffer): Buffer {
    const all = this.#rest === undefined ? data : Buffer.concat([this.#rest, data]);
    const whole = all.lastIndexOf(NEWLINE) + 1;
    this.#rest = whole === all.length ? undefined : all.subarray(whole);
    return whole === all.length ? all : all.subarray(0, whole);
  }
}

export interface FrameOptions {
  readonly timestamps: boolean;
  /** Put before each text, a space included; empty when no details were asked for. */
  readonly details: Buffer;
  /** Docker's stream format: before each record `[stream,0,0,0,len32be]`. Without, the bare text as of a TTY. */
  readonly framed: boolean;
}

/** Whole records -> `[header][<time> ][<details> ]<text>\n` each, in one buffer: one write for all of them. */
export function frameRecords(stream: 0 | 1 | 2, records: Buffer, options: FrameOptions): Buffer {
  const { timestamps, details, framed } = options;
  const header = framed ? HEADER_BYTES : 0;
  const out = Buffer.allocUnsafe(records.length + countLines(records) * (header + details.length));
  let used = 0;
  for (let start = 0, end = 0; start < records.length; start = end) {
    end = records.indexOf(NEWLINE, start) + 1;
    const text = textStart(records, start, end);
    const begin = used;
    used += header;
    if (timestamps) used = copy(records, start, text, out, used);
    if (details.length > 0) used = copy(details, 0, details.length, out, used);
    used = copy(records, text, end, out, used);
    if (!framed) continue;
    out.writeUInt32BE(stream * 0x1000000, begin);
    out.writeUInt32BE(used - begin - header, begin + 4);
  }
  return out.subarray(0, used);
}

function countLines(data: Buffer): number {
  let count = 0;
  for (let at = data.indexOf(NEWLINE); at >= 0; at = data.indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}

/** After the time and its space; at the start for a record without a time. */
function textStart(records: Buffer, start: number, end: number): number {
  if (records[start + TIME_BYTES] === SPACE && start + TIME_BYTES < end) return start + TIME_BYTES + 1;
  const limit = Math.min(end, start + MAX_TIME_BYTES);
  for (let at = start; at < limit; at += 1) if (records[at] === SPACE) return at + 1;
  return start;
}

function copy(from: Buffer, start: number, end: number, to: Buffer, at: number): number {
  if (end - start > SHORT_BYTES) from.copy(to, at, start, end);
  else for (let i = 0; i < end - start; i += 1) to[at + i] = from[start + i] ?? 0;
  return at + end - start;
}
