/** Calls to nodes whose session is with another manager: over a WebSocket to that manager, mutual TLS, one a node. */
import { WebSocket } from 'ws';
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import type { Logger, Node } from '../../shared/model/index.ts';
import { parseAgentFrame } from '../../shared/wire/frames.ts';
import type { Store } from '../store/store.ts';
import { connectManager, type ManagerTls } from './manager-link.ts';
import { managerOf } from './node-records.ts';
import { SessionCalls } from './session-calls.ts';

export interface RelayOptions {
  readonly store: Store;
  readonly managerId: string;
  /** This manager's own certificate, as it is now. */
  readonly tls: () => ManagerTls;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export class Relays {
  readonly #options: RelayOptions;
  readonly #open = new Map<string, Promise<SessionCalls>>();

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** True when another manager should have the node's session. */
  reaches(nodeId: string): boolean {
    const node = this.#options.store.get('nodes', nodeId);
    return node?.status === 'ready' && this.#addressFor(node) !== undefined;
  }

  /** Rejects with UnavailableError when no other manager has the node, or that one can not be reached. */
  async callsTo(nodeId: string): Promise<SessionCalls> {
    const node = this.#options.store.get('nodes', nodeId);
    const address = node === undefined ? undefined : this.#addressFor(node);
    if (address === undefined) throw new UnavailableError(`node ${nodeId} is not connected`);
    const key = `${address}/${nodeId}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = this.#connect(address, nodeId, () => this.#open.delete(key));
    this.#open.set(key, opening);
    return opening;
  }

  #addressFor(node: Node): string | undefined {
    const managerId = managerOf(node);
    if (managerId === undefined || managerId === this.#options.managerId) return undefined;
    return this.#options.store.get('managers', managerId)?.address;
  }

  async #connect(address: string, nodeId: string, onEnd: () => void): Promise<SessionCalls> {
    const { tls, logger, signal } = this.#options;
    const socket = connectManager(address, `/relay/${nodeId}`, tls(), () => calls.busy);
    const calls = new SessionCalls((frame) => {
      if (socket.readyState === WebSocket.OPEN)
        socket.send(Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
    });
    const onAbort = (): void => socket.terminate();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      try {
        take(calls, data, isBinary);
      } catch (error) {
        logger.warn({ address, nodeId, error: describeError(error) }, 'a relay broke the protocol');
        socket.terminate();
      }
    });
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      socket.on('error', (error) => {
        failure ??= error;
      });
      socket.on('open', () => resolve(calls));
      socket.on('close', () => {
        signal.removeEventListener('abort', onAbort);
        onEnd();
        calls.close();
        const text = `node ${nodeId} is with the manager at ${address}, which can not be reached`;
        reject(new UnavailableError(text, { cause: failure })); // unless it was open
      });
    });
  }
}

function take(calls: SessionCalls, data: Buffer, isBinary: boolean): void {
  if (isBinary) return calls.onData(data);
  // The other manager, or the node, may be newer; what they say beyond this is for others.
  const frame = parseAgentFrame(data.toString('utf8'), () => undefined);
  if (frame.type === 'response') calls.onResponse(frame);
  else if (frame.type === 'end') calls.onEnd(frame);
  else if (frame.type === 'credit') calls.onCredit(frame.id, frame.bytes);
}
