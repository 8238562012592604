/** Log records as nodes send them: `<RFC 3339 time> <text>\n`. */
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';

const NEWLINE = 0x0a;
const SECONDS_LENGTH = 'YYYY-MM-DDTHH:MM:SS'.length;
const FRACTION_DIGITS = 9;

/** The record's time such that texts sort as times do: nodes leave zeros at a fraction's end out. */
export function timeKey(record: Buffer): string {
  const head = record.subarray(0, 40).toString('latin1');
  const end = head.indexOf('Z');
  if (end < SECONDS_LENGTH) return '';
  const fraction = head.slice(SECONDS_LENGTH + 1, end);
  return head.slice(0, SECONDS_LENGTH) + fraction.padEnd(FRACTION_DIGITS, '0');
}

/** Milliseconds since the epoch of a key. */
export function keyMs(key: string): number {
  return Date.parse(`${key.slice(0, SECONDS_LENGTH)}.${key.slice(SECONDS_LENGTH, SECONDS_LENGTH + 3)}Z`);
}

/** A long line comes in several chunks: they are put together again. */
export async function* wholeRecords(chunks: AsyncIterable<StreamChunk>): AsyncGenerator<StreamChunk> {
  let parts: Buffer[] = [];
  for await (const chunk of chunks) {
    if (parts.length === 0 && chunk.data.at(-1) === NEWLINE) {
      yield chunk;
      continue;
    }
    parts.push(chunk.data);
    if (chunk.data.at(-1) !== NEWLINE) continue;
    yield { stream: chunk.stream, data: Buffer.concat(parts) };
    parts = [];
  }
  if (parts.length > 0) yield { stream: 1, data: Buffer.concat(parts) };
}
