/** The first frame of a session: who speaks must be who the certificate says. */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { closeReason } from '../../shared/wire/close-reason.ts';
import { type AgentFrame, CLOSE, parseAgentFrame } from '../../shared/wire/frames.ts';
import { peerSkew, type Tolerate } from '../../shared/wire/tolerant.ts';

const HELLO_TIMEOUT_MS = 10_000;
/** A machine with a thousand routes says less. */
const MAX_HELLO_BYTES = 256 * 1024;

export type Hello = Extract<AgentFrame, { type: 'hello' }>;

/** Calls `onHello` once for a proper hello of this node; closes the socket for anything else, and tells `onRefused`. `onUnknown`: of a newer one. */
export function awaitHello(
  socket: WebSocket,
  nodeId: string,
  onHello: (hello: Hello) => void,
  { onRefused, onUnknown }: { onRefused: (why: string) => void; onUnknown: Tolerate },
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
    try {
      const text = isBinary ? '' : data.toString('utf8');
      const { skew, version } = peerSkew(text);
      if (skew === 'apart') {
        const why = `Shoal ${version}, and ${VERSION} here: more than one minor release apart`;
        return refuse(CLOSE.forbidden, why);
      }
      const frame = isBinary ? undefined : parseAgentFrame(text, skew === 'newer' ? onUnknown : undefined);
      if (frame?.type !== 'hello') refuse(CLOSE.protocolError, 'the first frame must be hello');
      else if (frame.nodeId !== nodeId) refuse(CLOSE.forbidden, 'the certificate names another node');
      else onHello(frame);
    } catch (error) {
      // Whatever it is, it ends this session and not the manager.
      refuse(CLOSE.protocolError, describeError(error));
    }
  });
}
