import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { type Readable, pipeline } from 'node:stream';
import { RegistryUnavailableError } from './errors.ts';

/** No byte for this long means that the other side is gone. */
const IDLE_TIMEOUT_MS = 30_000;
/** Longer than any honest manifest, token or error body: 4 MiB is the limit of registries. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const MAX_REDIRECTS = 5;

export interface HttpOptions {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** A function makes the body anew for each time that it is sent. */
  readonly body?: string | Buffer | (() => Readable);
  /** False accepts any certificate: for registries that the operator declared insecure. */
  readonly verifyCertificate?: boolean;
}

const plainAgent = new HttpAgent({ keepAlive: true, maxSockets: 16, timeout: IDLE_TIMEOUT_MS });
const tlsAgent = new HttpsAgent({ keepAlive: true, maxSockets: 16, timeout: IDLE_TIMEOUT_MS });
const unverifiedTlsAgent = new HttpsAgent({
  keepAlive: true,
  maxSockets: 16,
  timeout: IDLE_TIMEOUT_MS,
  rejectUnauthorized: false,
});

/**
 * One request; redirects are followed, and a redirect to another origin loses the Authorization header. The caller
 * reads the body to its end or destroys it. Rejects with RegistryUnavailableError when nobody answers.
 */
export async function httpFetch(
  url: URL,
  options: HttpOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  let target = url;
  let current = options;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const response = await send(target, current, signal);
    const location = response.headers.location;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined)
      return response;
    response.destroy();
    const next = new URL(location, target);
    if (next.protocol !== 'http:' && next.protocol !== 'https:') break;
    if (next.origin !== target.origin) current = forOtherOrigin(current);
    target = next;
  }
  throw new RegistryUnavailableError(`${url.host} redirects without end`);
}

/** What was meant for one origin, credentials and trust in its certificate, does not go to another. */
function forOtherOrigin(options: HttpOptions): HttpOptions {
  const headers = Object.entries(options.headers ?? {}).filter(([name]) => name !== 'authorization');
  return { ...options, headers: Object.fromEntries(headers), verifyCertificate: true };
}

function send(url: URL, options: HttpOptions, signal: AbortSignal): Promise<IncomingMessage> {
  const isPlain = url.protocol === 'http:';
  const tls = options.verifyCertificate === false ? unverifiedTlsAgent : tlsAgent;
  const open = isPlain ? httpRequest : httpsRequest;
  return new Promise((resolve, reject) => {
    const outgoing = open(url, {
      method: options.method ?? 'GET',
      headers: { 'user-agent': 'shoal', ...options.headers },
      agent: isPlain ? plainAgent : tls,
      signal,
      timeout: IDLE_TIMEOUT_MS,
    });
    outgoing.on('response', (response) => {
      // an abort or a lost connection while nobody reads yet must not become an uncaught exception
      response.on('error', () => undefined);
      resolve(response);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer for ${IDLE_TIMEOUT_MS / 1000} s`)));
    outgoing.on('error', (cause) => reject(signal.aborted ? signal.reason : unreachable(url, cause)));
    if (typeof options.body !== 'function') outgoing.end(options.body);
    // Its end, good or bad, shows in the request's own events.
    else pipeline(options.body(), outgoing, () => undefined);
  });
}

/** `cause` as a temporary failure of `url`'s host. */
export function unreachable(url: URL, cause: unknown): RegistryUnavailableError {
  return new RegistryUnavailableError(`can not reach ${url.host}`, { cause });
}

/** The whole body. Rejects with RegistryUnavailableError when the connection breaks or the body is too long. */
export async function readBody(response: IncomingMessage, url: URL, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) throw new Error(`the answer is longer than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw unreachable(url, error);
  }
  return Buffer.concat(chunks);
}
