/** The limits of a port that strangers reach: how many, how fast, how slow. */
import type { Server, ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Duplex } from 'node:stream';
import { plainAddress, type Stranger, type Strangers } from './strangers.ts';
import type { Refusals } from './refusals.ts';

/** When thousands of nodes come at once the last of them wait for their turn: this is beyond that. */
const HANDSHAKE_TIMEOUT_MS = 20_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 20_000;
/** Neither side has sent anything; a session has heartbeats instead. */
const SILENCE_TIMEOUT_MS = 30_000;
/** One that goes on asking and never proves anything; the release fits into that over a slow line. */
const STRANGER_LIFE_MS = 600_000;
const CHECK_EVERY_MS = 2_000;

export const PORT_OPTIONS = {
  handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  connectionsCheckingInterval: CHECK_EVERY_MS,
  keepAliveTimeout: 5_000,
} as const satisfies ServerOptions;

/** By remote address and port: the TLS socket does not tell which plain one it is made of. */
export class GuardedPort {
  readonly #strangers: Strangers;
  readonly #refusals: Refusals;
  readonly #steadyMs: () => number;
  readonly #here = new Map<string, Stranger>();
  readonly #withoutTls = new WeakSet<Duplex>();

  constructor(strangers: Strangers, refusals: Refusals, steadyMs: () => number = () => performance.now()) {
    this.#strangers = strangers;
    this.#refusals = refusals;
    this.#steadyMs = steadyMs;
  }

  /** To be called before it listens. `answers`: to what is no HTTP too; else that is counted only. */
  guard(server: Server, answers = true): void {
    server.timeout = SILENCE_TIMEOUT_MS;
    // Before TLS is begun, which costs a hundred times as much as to close.
    const begin = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (this.#admit(socket)) for (const listener of begin) listener.call(server, socket);
    });
    // Before the server's own listener, which passes it on as a clientError.
    server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      this.#withoutTls.add(socket);
      const reason = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'slow' : 'tls';
      // Who leaves has done nothing wrong.
      if (error.code === 'ECONNRESET') return;
      this.#refusals.add(reason, { from: socket.remoteAddress, error: error.code ?? error.message });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) =>
      this.#onBadHttp(error, socket, answers),
    );
  }

  /** The connection's stranger, while it is one. */
  of(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): Stranger | undefined {
    return this.#here.get(nameOf(socket));
  }

  #admit(socket: Socket): boolean {
    const name = nameOf(socket);
    const drop = (): void => {
      this.#refusals.add('full', { from: socket.remoteAddress, made: 'room for another address' });
      socket.destroy();
    };
    const stranger = this.#strangers.admit(socket.remoteAddress, this.#steadyMs(), drop);
    if (typeof stranger === 'string') {
      this.#refusals.add(stranger, { from: socket.remoteAddress });
      socket.on('error', () => undefined);
      socket.destroy();
      return false;
    }
    this.#here.set(name, stranger);
    const life = setTimeout(() => {
      if (this.#here.get(name) === stranger && !socket.destroyed) {
        this.#refusals.add('slow', { from: socket.remoteAddress });
        socket.destroy();
      }
    }, STRANGER_LIFE_MS).unref();
    stranger.onLeave(() => {
      clearTimeout(life);
      if (this.#here.get(name) === stranger) this.#here.delete(name);
    });
    socket.once('close', () => stranger.gone());
    return true;
  }

  #onBadHttp(error: NodeJS.ErrnoException, socket: Duplex, answers: boolean): void {
    const slow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (this.#withoutTls.has(socket)) return void socket.destroy();
    if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE')
      this.#refusals.add(slow ? 'slow' : 'http', {
        from: (socket as TLSSocket).remoteAddress,
        error: error.code ?? error.message,
      });
    if (!answers) return;
    if (!socket.writable) return void socket.destroy();
    const status = slow
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () =>
      socket.destroy(),
    );
  }
}

function nameOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${plainAddress(remoteAddress ?? '')} ${remotePort}`;
}
