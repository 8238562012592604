/** Both ways of a connection with a client: taken over after `101 UPGRADED`, or the body of an ordinary answer. */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Request, Response } from 'express';
import { createWebSocketStream, type WebSocket, type WebSocketServer } from 'ws';
import { InvalidError } from '../../../shared/errors/index.ts';
import { takeConnection, upgradeSocket } from './upgrade.ts';

const LINGER_MS = 10_000;

export interface Channel {
  /** What the client sends until it closes its side. It is read only while somebody reads this. */
  readonly input: AsyncIterable<Buffer>;
  /** True once the client has said that nothing more comes from it. */
  readonly inputEnded: () => boolean;
  /** Aborts when the client has gone. */
  readonly gone: AbortSignal;
  /** Resolves when the client has room for more; does not reject. */
  write(data: Buffer): Promise<void>;
  /** Sends what is still to be sent, then ends the connection. */
  close(): void;
}

/** Answers the request: 101 when the client asks for the connection, else 200; then there is no input. */
export function openChannel(req: Request, res: Response, contentType: string): Channel {
  const socket = upgradeSocket(req);
  if (socket !== undefined) {
    takeConnection(res, socket, contentType);
    return channelOver(socket, inputOf(socket), () => hangUp(socket));
  }
  res.statusCode = 200;
  res.setHeader('Content-Type', contentType);
  res.flushHeaders();
  return channelOver(res, noInput(), () => res.end());
}

/**
 * Answers a WebSocket's handshake. What the client sends is input, text or binary; all that it gets is binary. Throws
 * InvalidError for what is no such handshake; the request can be answered then.
 */
export function webSocketChannel(server: WebSocketServer, req: Request, res: Response): Channel {
  const socket = upgradeSocket(req);
  if (socket === undefined) throw new InvalidError('a WebSocket handshake is expected');
  const client = shakeHands(server, req, socket);
  res.detachSocket(socket);
  const stream = createWebSocketStream(client);
  // A client that breaks off has gone; `close` follows.
  stream.on('error', () => undefined);
  return channelOver(stream, inputOf(stream), () => stream.end());
}

/** The server calls back before it returns, says what is wrong, or neither when the client has gone. */
function shakeHands(server: WebSocketServer, req: Request, socket: Socket): WebSocket {
  const outcome: { client?: WebSocket; reason: string } = { reason: 'the client has gone' };
  // With a listener, it leaves the answer to us.
  const refuse = ({ message }: Error): void => void (outcome.reason = message);
  server.on('wsClientError', refuse);
  try {
    server.handleUpgrade(req, socket, Buffer.alloc(0), (client) => {
      outcome.client = client;
    });
  } finally {
    server.off('wsClientError', refuse);
  }
  if (outcome.client === undefined)
    throw new InvalidError(`a WebSocket handshake is expected: ${outcome.reason}`);
  return outcome.client;
}

function channelOver(
  stream: Duplex | ServerResponse,
  input: AsyncIterable<Buffer>,
  close: () => void,
): Channel {
  const gone = new AbortController();
  stream.once('close', () => gone.abort());
  if (stream.destroyed) gone.abort();
  return {
    input,
    inputEnded: () => 'readableEnded' in stream && stream.readableEnded,
    gone: gone.signal,
    close,
    write: async (data) => {
      if (stream.destroyed || stream.write(data)) return;
      await new Promise<void>((resolve) => {
        const settle = (): void => {
          stream.off('drain', settle).off('close', settle);
          resolve();
        };
        stream.once('drain', settle).once('close', settle);
      });
    },
  };
}

/**
 * Ends our side, then reads and forgets what the client still sends: a unix socket that is closed with something unread in
 * it resets the connection, and the client takes that for a failure. A client that does not end its side is cut off.
 */
function hangUp(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.once('end', () => socket.destroySoon());
  socket.end();
  // Whoever read the input has left or waits for more; with such a listener nothing flows.
  socket.removeAllListeners('readable');
  setImmediate(() => socket.on('data', () => undefined).resume());
  if (socket.readableEnded) socket.destroySoon();
}

/** Leaving the loop leaves the socket as it is: output may still have to go out. */
async function* inputOf(socket: Duplex): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    // A client that is gone has ended its input.
    if (!socket.destroyed) throw error;
  }
}

async function* noInput(): AsyncGenerator<Buffer> {
  yield* [];
}
