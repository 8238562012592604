/** How a log record goes to a Docker client. */

const HEADER_BYTES = 8;

/** `[stream,0,0,0,len32be]` and the data: Docker's stream format, used whenever there is no TTY. */
export function frame(stream: 0 | 1 | 2, data: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(stream, 0);
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

/** `k=v,...` sorted by key and escaped as in a URL's query, as Docker's details are. */
export function detailsText(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join(',');
}
