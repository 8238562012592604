import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { requestSignal, sendJsonText, writeAll } from './respond.ts';

/** About a megabyte of tasks. */
const SLICE = 1_000;

/**
 * Answers with the JSON list of these texts. A long one goes out in slices, each when the client has taken the one before:
 * others are served in between, and what waits for a slow client is not held twice.
 */
export async function sendJsonList(
  res: ServerResponse,
  texts: readonly string[],
  stopping: AbortSignal,
): Promise<void> {
  if (texts.length <= SLICE) return sendJsonText(res, 200, `[${texts.join(',')}]`);
  const signal = requestSignal(res, stopping);
  res.statusCode = 200;
  res.setHeader('Content-Type', 'application/json');
  for (let from = 0; from < texts.length; from += SLICE) {
    const slice = texts.slice(from, from + SLICE).join(',');
    await writeAll(res, Buffer.from(`${from === 0 ? '[' : ','}${slice}`), signal);
    await setImmediate();
  }
  res.end(']\n');
}
