/** How a log record goes to a Docker client. */

const HEADER_BYTES = 8;
const TIME = /^(\S+) /;

/** `[stream,0,0,0,len32be]` and the data: Docker's stream format, used whenever there is no TTY. */
export function frame(stream: 0 | 1 | 2, data: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

export interface LineOptions {
  readonly timestamps: boolean;
  /** The record's attributes, put before the text when details were asked for. */
  readonly details: string | undefined;
}

/** `<time> <text>` as nodes send it -> `[<time> ][<details> ]<text>`. */
export function logLine(record: Buffer, options: LineOptions): Buffer {
  const head = record.subarray(0, 64).toString('latin1');
  const time = TIME.exec(head)?.[1] ?? '';
  const text = record.subarray(time === '' ? 0 : time.length + 1);
  const before =
    (options.timestamps ? `${time} ` : '') + (options.details === undefined ? '' : `${options.details} `);
  return before === '' ? text : Buffer.concat([Buffer.from(before), text]);
}

/** `k=v,...` sorted by key and escaped as in a URL's query, as Docker's details are. */
export function detailsText(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join(',');
}
