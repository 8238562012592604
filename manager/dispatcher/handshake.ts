/** The first frame of a session: who speaks must be who the certificate says. */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import { closeReason } from '../../shared/wire/close-reason.ts';
import { type AgentFrame, CLOSE, parseAgentFrame } from '../../shared/wire/frames.ts';

const HELLO_TIMEOUT_MS = 10_000;
/** A machine with a thousand routes says less. */
const MAX_HELLO_BYTES = 256 * 1024;

export type Hello = Extract<AgentFrame, { type: 'hello' }>;

/** Calls `onHello` once for a proper hello of this node; closes the socket for anything else, and tells `onRefused`. */
export function awaitHello(
  socket: WebSocket,
  nodeId: string,
  onHello: (hello: Hello) => void,
  onRefused: (why: string) => void,
): void {
  const refuse = (code: number, why: string): void => {
    onRefused(why);
    socket.close(code, closeReason(why));
  };
  const timer = setTimeout(() => {
    onRefused('no hello in time');
    socket.terminate();
  }, HELLO_TIMEOUT_MS);
  socket.once('close', () => clearTimeout(timer));
  socket.once('message', (data: Buffer, isBinary: boolean) => {
    clearTimeout(timer);
    if (data.length > MAX_HELLO_BYTES)
      return refuse(CLOSE.protocolError, `a hello has at most ${MAX_HELLO_BYTES} bytes`);
    let frame: AgentFrame | undefined;
    try {
      frame = isBinary ? undefined : parseAgentFrame(data.toString('utf8'));
    } catch (error) {
      return refuse(CLOSE.protocolError, describeError(error));
    }
    if (frame?.type !== 'hello') refuse(CLOSE.protocolError, 'the first frame must be hello');
    else if (frame.nodeId !== nodeId) refuse(CLOSE.forbidden, 'the certificate names another node');
    else onHello(frame);
  });
}
