/**
 * The end of a relay at the manager that has the node's session: what another manager asks is passed on under numbers of this
 * session, and what the node answers goes back under theirs. Windows are not looked at: they are kept by the two ends.
 */
import type { WebSocket } from 'ws';
import { describeError, InvalidError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/index.ts';
import { closeReason } from '../../shared/wire/close-reason.ts';
import { CLOSE, decodeStreamData, type ManagerFrame, parseManagerFrame } from '../../shared/wire/frames.ts';
import type { NodeSession } from './node-session.ts';
import type { Answer } from './session-calls.ts';

/** Serves one relay until it or the session ends; at once when there is none. */
export function serveRelay(socket: WebSocket, session: NodeSession | undefined, logger: Logger): void {
  if (session === undefined) return socket.close(CLOSE.forbidden, 'the node has no session here');
  const relay = new Relay(socket, session);
  const end = (): void => socket.close(CLOSE.goingAway, 'the session with the node ended');
  session.signal.addEventListener('abort', end, { once: true });
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    try {
      if (isBinary) relay.onData(data);
      // The other manager may be newer; what it says beyond this is for others.
      else relay.onFrame(parseManagerFrame(data.toString('utf8'), () => undefined));
    } catch (error) {
      logger.warn({ nodeId: session.nodeId, error: describeError(error) }, 'a relay broke the protocol');
      socket.close(CLOSE.protocolError, closeReason(describeError(error)));
    }
  });
  socket.on('close', () => {
    session.signal.removeEventListener('abort', end);
    relay.cancelAll();
  });
}

class Relay {
  readonly #socket: WebSocket;
  readonly #session: NodeSession;
  /** Their number of what is under way -> ours. */
  readonly #ids = new Map<number, number>();

  constructor(socket: WebSocket, session: NodeSession) {
    this.#socket = socket;
    this.#session = session;
  }

  onFrame(frame: ManagerFrame): void {
    switch (frame.type) {
      case 'request':
        return this.#begin(frame);
      case 'cancel':
      case 'credit':
      case 'input-end':
        return this.#pass(frame);
      case 'welcome':
      case 'full':
      case 'change':
      case 'status-ack':
        throw new InvalidError(`a relay carries calls, not ${frame.type}`);
    }
  }

  onData(frame: Buffer): void {
    const id = this.#ids.get(decodeStreamData(frame).id);
    if (id === undefined) return; // it is over
    frame.writeUInt32BE(id, 0);
    this.#session.send(frame);
  }

  /** The other manager is gone, or has lost interest. */
  cancelAll(): void {
    for (const id of this.#ids.values()) {
      this.#session.calls.drop(id);
      this.#session.send({ type: 'cancel', id });
    }
    this.#ids.clear();
  }

  #begin(frame: Extract<ManagerFrame, { type: 'request' }>): void {
    if (this.#ids.has(frame.id)) throw new InvalidError(`request ${frame.id} was made twice`);
    const id = this.#session.calls.forward((answer) => this.#answer(frame.id, answer));
    this.#ids.set(frame.id, id);
    this.#session.send({ ...frame, id });
  }

  #pass(frame: Extract<ManagerFrame, { type: 'cancel' | 'credit' | 'input-end' }>): void {
    const id = this.#ids.get(frame.id);
    if (id !== undefined) this.#session.send({ ...frame, id });
  }

  #answer(id: number, answer: Answer | Buffer): void {
    if (Buffer.isBuffer(answer)) {
      answer.writeUInt32BE(id, 0);
      this.#socket.send(answer);
      return;
    }
    if (answer.type === 'response' || answer.type === 'end') this.#ids.delete(id);
    this.#socket.send(JSON.stringify({ ...answer, id }));
  }
}
