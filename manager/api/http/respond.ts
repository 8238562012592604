import type { ServerResponse } from 'node:http';

/** The Content-Type is exactly application/json: with a charset the docker CLI prints error bodies raw. */
export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.end(text);
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
