/** Log records as nodes send them, `<RFC 3339 time> <text>\n`, and the times that they begin with. */
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { RecordJoiner } from './records.ts';

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

/** Of the last of whole records. */
export function lastTimeKey(records: Buffer): string {
  return timeKey(records.subarray(records.lastIndexOf(NEWLINE, records.length - 2) + 1));
}

/** Whole records in two: those before the first one later than `key`, and the rest, each possibly empty. */
export function splitAfter(records: Buffer, key: string): readonly [Buffer, Buffer] {
  let start = 0;
  while (start < records.length && timeKey(records.subarray(start)) <= key)
    start = records.indexOf(NEWLINE, start) + 1;
  return [records.subarray(0, start), records.subarray(start)];
}

/** What is whole of each chunk: a long record comes in several, and they are put together again. */
export async function* wholeRecords(chunks: AsyncIterable<StreamChunk>): AsyncGenerator<StreamChunk> {
  const joiner = new RecordJoiner();
  for await (const { stream, data } of chunks) {
    const records = joiner.push(data);
    if (records.length > 0) yield { stream, data: records };
  }
  if (joiner.rest !== undefined) yield { stream: 1, data: joiner.rest };
}
