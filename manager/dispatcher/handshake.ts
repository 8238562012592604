/** The first frame of a session: who speaks must be who the certificate says. */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import { type AgentFrame, CLOSE, parseAgentFrame } from '../../shared/wire/frames.ts';

const HELLO_TIMEOUT_MS = 10_000;

export type Hello = Extract<AgentFrame, { type: 'hello' }>;

/** Calls `onHello` once for a proper hello of this node; closes the socket for anything else. */
export function awaitHello(socket: WebSocket, nodeId: string, onHello: (hello: Hello) => void): void {
  const timer = setTimeout(() => socket.terminate(), HELLO_TIMEOUT_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('message', (data: Buffer, isBinary: boolean) => {
    clearTimeout(timer);
    try {
      const frame = isBinary ? undefined : parseAgentFrame(data.toString('utf8'));
      if (frame?.type !== 'hello') socket.close(CLOSE.protocolError, 'the first frame must be hello');
      else if (frame.nodeId !== nodeId) socket.close(CLOSE.forbidden, 'the certificate names another node');
      else onHello(frame);
    } catch (error) {
      socket.close(CLOSE.protocolError, describeError(error).slice(0, 120));
    }
  });
}
