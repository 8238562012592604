/**
 * Connections that a client takes over (`Upgrade: tcp`). Node hands such a request over without its body: that is in the
 * bytes that follow the head, and on the socket. The request still goes through the same handler as every other, so that
 * versions, errors and refusals are the same; the handler may then take the connection.
 */
import { type IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { InvalidError } from '../../../shared/errors/index.ts';

const sockets = new WeakMap<IncomingMessage, Socket>();

/** For a server's `upgrade` event. */
export function serveUpgrade(
  handler: RequestListener,
  req: IncomingMessage,
  socket: Socket,
  head: Buffer,
): void {
  // From here on nobody else listens; an error is followed by `close`, which everybody looks at.
  socket.on('error', () => undefined);
  // Who has said all wants to hear the rest. A socket of TLS would end with its other side.
  socket.allowHalfOpen = true;
  if (head.length > 0) socket.unshift(head);
  sockets.set(req, socket);
  const res = new ServerResponse(req);
  res.shouldKeepAlive = false;
  res.assignSocket(socket);
  res.once('finish', () => socket.destroySoon());
  handler(req, res);
}

/** The socket of a request that asks for its connection. */
export function upgradeSocket(req: IncomingMessage): Socket | undefined {
  return sockets.get(req);
}

/** The body of a request that asks for its connection; what follows it stays on the socket. Throws InvalidError. */
export async function readUpgradeBody(
  req: IncomingMessage,
  socket: Socket,
  limitBytes: number,
): Promise<string> {
  if (req.headers['transfer-encoding'] !== undefined)
    throw new InvalidError('a request that asks for its connection needs a Content-Length');
  const size = Number(req.headers['content-length'] ?? 0);
  if (size > limitBytes) throw new InvalidError(`the request body is larger than ${limitBytes} bytes`);
  const parts: Buffer[] = [];
  for (let missing = size; missing > 0; ) {
    // All that is there: to ask for more than that, again and again, would keep everything else from running.
    const part = socket.read() as Buffer | null;
    if (part !== null) {
      if (part.length > missing) socket.unshift(part.subarray(missing));
      parts.push(part.subarray(0, missing));
      missing -= Math.min(part.length, missing);
    } else if (socket.readableEnded || socket.destroyed)
      throw new InvalidError('the request ended before its body did');
    else await somethingToRead(socket);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Resolves when there is more, or never will be. */
function somethingToRead(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off('readable', settle).off('end', settle).off('close', settle);
      resolve();
    };
    socket.once('readable', settle).once('end', settle).once('close', settle);
  });
}

/** Says `101 UPGRADED`: the connection is the caller's from now on. */
export function takeConnection(res: ServerResponse, socket: Socket, contentType: string): void {
  res.detachSocket(socket);
  socket.write(
    `HTTP/1.1 101 UPGRADED\r\nContent-Type: ${contentType}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`,
  );
}
