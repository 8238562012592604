import type { IncomingMessage } from 'node:http';
import { InvalidError } from '../../../shared/errors/index.ts';
import { jsonErrorPosition, lineAndColumn } from './json-position.ts';
import { readUpgradeBody, upgradeSocket } from './upgrade.ts';

const BODY_LIMIT_BYTES = 4 * 1024 * 1024;

/** A client that sends nothing for so long does not get to the end of its body any more. */
const BODY_IDLE_MS = 60_000;

/** The whole body as text. Throws InvalidError beyond `limitBytes`, when it ends too early, and when it does not come. */
export async function readText(
  req: IncomingMessage,
  limitBytes = BODY_LIMIT_BYTES,
  idleMs = BODY_IDLE_MS,
): Promise<string> {
  const late = new AbortController();
  const give = (): void => late.abort(new InvalidError('the rest of the request body did not come in time'));
  const timer = setTimeout(give, idleMs);
  const lateness = new Promise<never>((_, reject) =>
    late.signal.addEventListener('abort', () => reject(late.signal.reason), { once: true }),
  );
  try {
    const socket = upgradeSocket(req);
    const body =
      socket === undefined
        ? readBody(req, limitBytes, () => timer.refresh())
        : readUpgradeBody(req, socket, limitBytes);
    return await Promise.race([body, lateness]);
  } finally {
    clearTimeout(timer);
  }
}

async function readBody(req: IncomingMessage, limitBytes: number, onPart: () => void): Promise<string> {
  const announced = Number(req.headers['content-length'] ?? 0);
  if (announced > limitBytes) throw tooLarge(limitBytes);
  const parts: Buffer[] = [];
  let size = 0;
  try {
    // Left as it is on the way out: its answer still has to go over the same connection.
    for await (const part of req.iterator({ destroyOnReturn: false })) {
      onPart();
      size += (part as Buffer).length;
      if (size > limitBytes) throw tooLarge(limitBytes);
      parts.push(part as Buffer);
    }
  } catch (error) {
    if (error instanceof InvalidError || !req.destroyed) throw error;
    throw new InvalidError('the request ended before its body did', { cause: error });
  }
  return Buffer.concat(parts).toString('utf8');
}

const DISCARD_TIMEOUT_MS = 1_000;

/**
 * Reads and drops what is left of a body: a client that still writes sees an answer that comes too early as a broken
 * connection. Resolves with false when more is left than a body may have, or it does not come; never rejects.
 */
export async function discardBody(req: IncomingMessage): Promise<boolean> {
  if (req.complete && req.readableEnded) return true;
  if (req.destroyed || Number(req.headers['content-length'] ?? 0) > BODY_LIMIT_BYTES) return false;
  return new Promise((resolve) => {
    let left = BODY_LIMIT_BYTES;
    const settle = (whole: boolean): void => {
      clearTimeout(timer);
      req.off('data', count).off('end', end).off('close', cut).off('error', cut);
      if (!whole) req.pause();
      resolve(whole);
    };
    const end = (): void => settle(true);
    const cut = (): void => settle(false);
    const count = (part: Buffer): void => {
      left -= part.length;
      if (left < 0) cut();
    };
    const timer = setTimeout(cut, DISCARD_TIMEOUT_MS);
    req.on('data', count).once('end', end).once('close', cut).once('error', cut);
  });
}

/** The body as JSON, not validated. Throws InvalidError that names the place when it is none. */
export async function readJson(req: IncomingMessage): Promise<unknown> {
  const text = await readText(req);
  if (text.trim() === '') throw new InvalidError('the request body is empty: JSON is expected');
  return parseJson(text, 'request body');
}

export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const offset = jsonErrorPosition(text);
    const { line, column } = lineAndColumn(text, offset);
    const found =
      offset >= text.length ? 'the text ends too early' : `unexpected ${JSON.stringify(text[offset])}`;
    throw new InvalidError(
      `malformed JSON in the ${what}: ${found} at position ${offset} (line ${line}, column ${column})`,
    );
  }
}

function tooLarge(limitBytes: number): InvalidError {
  return new InvalidError(`the request body is larger than ${limitBytes} bytes`);
}
