/** A node's side of a session spoken by hand, for what a proper link never does. */
import { Agent } from 'node:https';
import { WebSocket } from 'ws';
import type { Identity } from '../../../agent/session/identity.ts';
import { type AgentFrame, type ManagerFrame, parseManagerFrame } from '../../../shared/wire/frames.ts';
import { addressOf, description, eventually } from './rig.ts';

export class RawSession {
  readonly frames: ManagerFrame[] = [];
  closeCode: number | undefined;
  failure: string | undefined;
  readonly socket: WebSocket;

  constructor(address: string, tls: Partial<Identity>, path = '/session') {
    const { ca, cert, key } = tls;
    const agent = new Agent({ ca, cert, key, checkServerIdentity: () => undefined, maxCachedSessions: 0 });
    this.socket = new WebSocket(`wss://${address}${path}`, { agent });
    this.socket.on('message', (data: Buffer) => this.frames.push(parseManagerFrame(data.toString('utf8'))));
    this.socket.on('close', (code) => {
      this.closeCode = code;
    });
    this.socket.on('error', (error) => {
      this.failure = error.message;
    });
  }

  static async open(address: string, identity: Identity): Promise<RawSession> {
    const session = new RawSession(address, identity);
    await session.opened();
    session.hello(identity.nodeId);
    await eventually('the full set came', () => session.frames.some((frame) => frame.type === 'full'));
    return session;
  }

  opened(): Promise<void> {
    return eventually('the socket is open', () => this.socket.readyState === WebSocket.OPEN);
  }

  hello(nodeId: string): void {
    const said = { ...description('raw'), address: addressOf(nodeId) };
    this.send({ type: 'hello', protocol: 1, nodeId, description: said });
  }

  send(frame: AgentFrame): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** The frames of one type, in order. */
  of<T extends ManagerFrame['type']>(type: T): Extract<ManagerFrame, { type: T }>[] {
    return this.frames.filter((frame): frame is Extract<ManagerFrame, { type: T }> => frame.type === type);
  }
}
