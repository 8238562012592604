/** What is no HTTP never reaches the API: it is answered here, in the same form as errors of the API, and its connection ends. */
import { type IncomingMessage, maxHeaderSize, type Server, type ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { sendJson } from './respond.ts';

/** A client that does not read, or does not close its side, is cut off. */
const LINGER_MS = 1_000;

type Refusal = readonly [status: string, message: string];

const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    `the head of the request is larger than ${maxHeaderSize} bytes`,
  ],
  HPE_INVALID_EOF_STATE: ['400 Bad Request', 'the request ended too early'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the head of the request did not come in time'],
};

export function refuseWhatIsNoHttp(server: Server | TlsServer): void {
  const newest = new WeakMap<Socket, { req: IncomingMessage; res: ServerResponse }>();
  server.on('request', (req, res) => void newest.set(req.socket, { req, res }));
  server.on('checkExpectation', (req: IncomingMessage, res: ServerResponse) => {
    sendJson(res, 417, { message: `the expectation '${req.headers.expect}' can not be met` });
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const under = newest.get(socket);
    const open = under !== undefined && !under.res.writableEnded && !under.res.destroyed;
    if (
      error.code === 'ECONNRESET' ||
      !socket.writable ||
      (open && under.res.headersSent && !under.req.complete)
    )
      return void socket.destroy();
    const refusal = REFUSALS[error.code ?? ''] ?? ['400 Bad Request', 'this is no HTTP request'];
    // The answer to the request before comes first. One whose own body is broken gets this for an answer.
    if (open && under.req.complete) under.res.once('close', () => refuse(socket, refusal));
    else refuse(socket, refusal);
  });
}

function refuse(socket: Socket, [status, message]: Refusal): void {
  if (!socket.writable) return void socket.destroy();
  const body = `${JSON.stringify({ message })}\n`;
  const head = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}
