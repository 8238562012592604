/** The CLI's way to the API: HTTP over the cluster's unix socket, or over TLS; Docker Engine API paths. */
import { request, type IncomingMessage } from 'node:http';
import { AppError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';

export interface ApiResponse {
  readonly status: number;
  /** Parsed when the answer is JSON, else its text. */
  readonly body: unknown;
}

export interface ApiBody {
  readonly type: 'application/json';
  readonly text: string;
}

/** The API refused: its own message. */
export class ApiError extends AppError {
  override readonly name = 'ApiError';
  readonly code = 'invalid';
  readonly status: number;
  readonly body: unknown;
  constructor(status: number, message: string, body: unknown) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/** One request, until its answer's head. Rejects with UnavailableError when nobody answers. */
export interface Transport {
  open(
    method: string,
    path: string,
    body: ApiBody | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage>;
}

export class ApiClient {
  /** Of the manager of this machine; undefined for those that are asked over TCP. */
  readonly socket: string | undefined;
  readonly #transport: Transport;

  /** The path of a unix socket, or another way. */
  constructor(at: string | Transport) {
    this.socket = typeof at === 'string' ? at : undefined;
    this.#transport = typeof at === 'string' ? { open: (...what) => openSocket(at, ...what) } : at;
  }

  /** Any answer, whatever its status. Rejects with UnavailableError when nobody serves it. */
  async send(
    method: string,
    path: string,
    body: ApiBody | undefined,
    signal: AbortSignal,
  ): Promise<ApiResponse> {
    const response = await this.#transport.open(method, path, body, signal);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const isJson = (response.headers['content-type'] ?? '').includes('json') && text !== '';
    return { status: response.statusCode ?? 0, body: isJson ? JSON.parse(text) : text };
  }

  /** The answer's body; rejects with ApiError for a status of 400 and more. */
  async call(method: string, path: string, body: ApiBody | undefined, signal: AbortSignal): Promise<unknown> {
    const response = await this.send(method, path, body, signal);
    if (response.status >= 400) {
      throw new ApiError(response.status, messageOf(response), response.body);
    }
    return response.body;
  }

  get(path: string, signal: AbortSignal): Promise<unknown> {
    return this.call('GET', path, undefined, signal);
  }

  /** The answer as it comes, to be read to its end; rejects with ApiError for a status of 400 and more. */
  async stream(method: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const response = await this.#transport.open(method, path, undefined, signal);
    const status = response.statusCode ?? 0;
    if (status < 400) return response;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const isJson = (response.headers['content-type'] ?? '').includes('json');
    const body: unknown = isJson ? JSON.parse(text) : text;
    throw new ApiError(status, messageOf({ status, body }), body);
  }
}

export function headersOf(body: ApiBody | undefined): Record<string, string> {
  if (body === undefined) return {};
  return { 'content-type': body.type, 'content-length': String(Buffer.byteLength(body.text)) };
}

function openSocket(
  socketPath: string,
  method: string,
  path: string,
  body: ApiBody | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const headers = headersOf(body);
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers, signal }, resolve);
    outgoing.on('error', (error) => reject(explain(socketPath, error)));
    outgoing.end(body?.text);
  });
}

function messageOf(response: ApiResponse): string {
  const { body } = response;
  if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  return typeof body === 'string' && body !== '' ? body.trim() : `the manager answered ${response.status}`;
}

function explain(socket: string, error: NodeJS.ErrnoException): Error {
  switch (error.code) {
    case 'ENOENT':
      return new UnavailableError(
        `no cluster answers on ${socket}: start one with 'shoal up' (sudo npm run up), or name its socket with --socket`,
      );
    case 'ECONNREFUSED':
      return new UnavailableError(
        `nobody serves ${socket}: its manager is not running (or is starting again). Its log, for a cluster made by ` +
          "'shoal up', is logs/manager.log in the state directory",
      );
    case 'EACCES':
      return new InvalidError(
        `${socket} may be used by root and the group shoal only: use sudo, or join the group`,
      );
    default:
      return error;
  }
}
