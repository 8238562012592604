import type { ServerResponse } from 'node:http';

const LONG_TEXT = 32 * 1024;

/** The Content-Type is exactly application/json: with a charset the docker CLI prints error bodies raw. */
export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  sendJsonText(res, status, JSON.stringify(body));
}

/** `json` is the text of the body. */
export function sendJsonText(res: ServerResponse, status: number, json: string): void {
  const text = `${json}\n`;
  // A long string would be looked through three times more on its way out; a short one goes with its head in one piece.
  const body = text.length > LONG_TEXT ? Buffer.from(text) : text;
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json');
  res.setHeader('Content-Length', Buffer.byteLength(body));
  res.end(body);
}

export function sendEmpty(res: ServerResponse, status: number): void {
  res.statusCode = status;
  res.end();
}

/** Aborts when the client goes away or the manager stops. */
export function requestSignal(res: ServerResponse, stopping: AbortSignal): AbortSignal {
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, stopping]);
}

/** Writes and waits for the client to take it. Rejects with the signal's reason when the client is gone. */
export async function writeAll(
  res: ServerResponse,
  data: Buffer | string,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (res.write(data)) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      res.off('drain', settle);
      signal.removeEventListener('abort', settle);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    res.once('drain', settle);
    signal.addEventListener('abort', settle, { once: true });
  });
}
