/** One live link to one node: frames in and out, in order, with sequence numbers. It decides nothing. */
import type { WebSocket } from 'ws';
import { describeError } from '../../shared/errors/index.ts';
import type {
  AssignmentSet,
  Logger,
  NetworkReport,
  NodeDescription,
  ServiceAssignment,
  TaskUsage,
  TunnelKeys,
} from '../../shared/model/index.ts';
import { type AssignmentDiff, setToLists } from '../../shared/wire/assignment-diff.ts';
import { closeReason } from '../../shared/wire/close-reason.ts';
import { type AgentFrame, CLOSE, type ManagerFrame, parseAgentFrame } from '../../shared/wire/frames.ts';
import type { Tolerate } from '../../shared/wire/tolerant.ts';
import type { HeldCertificate } from '../ca/renewal.ts';
import { KnownPorts } from './known-ports.ts';
import { SessionCalls } from './session-calls.ts';

/** A node that reads so slowly that this much waits for it is cut off; it comes back and gets a full set. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024;

export type StatusFrame = Extract<AgentFrame, { type: 'status' }>;
/** Most of what arrives at a manager that has nothing to do. */
const BEAT = Buffer.from(JSON.stringify({ type: 'beat' } satisfies AgentFrame));

export interface SessionEvents {
  /** Anything arrived, a heartbeat or more. */
  heard(session: NodeSession): void;
  acked(session: NodeSession, seq: number): void;
  /** To be answered with confirmStatuses(id). */
  statuses(session: NodeSession, frame: StatusFrame): void;
  /** All that the node measures, as of now. */
  rekeyed(session: NodeSession, keys: TunnelKeys): void;
  usage(session: NodeSession, tasks: readonly TaskUsage[]): void;
  /** It said what no node says; the session ends. */
  broken(session: NodeSession, how: string): void;
  readonly networks: { take(session: NodeSession, report: NetworkReport): void };
  closed(session: NodeSession): void;
}

/** Who has come, as the reception knows it. */
interface SessionGuest {
  readonly socket: WebSocket;
  readonly nodeId: string;
  readonly warning: string | undefined;
  readonly from?: string | undefined;
  readonly certificate?: HeldCertificate | undefined;
  /** It runs a newer version: what it says and is not known is left out. */
  readonly newer: boolean;
  readonly description: Pick<NodeDescription, 'knows'>;
}

export class NodeSession {
  readonly id: string;
  readonly nodeId: string;
  readonly calls: SessionCalls;
  /** Aborts when the session ends. */
  readonly signal: AbortSignal;
  /** True once the node's record names this session: another name there from then on is a newer session. */
  recorded = false;
  /** What people should know of the node, found when the session opened. */
  readonly warning: string | undefined;
  /** The address that it comes from; undefined when that is not known (as in a simulation). */
  readonly from: string | undefined;
  /** The newest one of the node; undefined when the socket has none (as in a simulation). */
  certificate: HeldCertificate | undefined;
  readonly #socket: WebSocket;
  readonly #events: SessionEvents;
  readonly #logger: Logger;
  readonly #ended = new AbortController();
  readonly #tolerate: Tolerate | undefined;
  readonly #unknown = new Set<string>();
  readonly #knownPorts: KnownPorts;
  readonly #leftPorts = new Set<string>();
  #seq = 0;
  #open = true;

  constructor(id: string, guest: SessionGuest, events: SessionEvents, logger: Logger) {
    const { socket } = guest;
    this.id = id;
    this.nodeId = guest.nodeId;
    this.warning = guest.warning;
    this.from = guest.from;
    this.certificate = guest.certificate;
    this.#knownPorts = new KnownPorts(guest.description);
    if (guest.newer) this.#tolerate = (field) => this.#onUnknown(field);
    this.signal = this.#ended.signal;
    this.calls = new SessionCalls((frame) => this.send(frame));
    this.#socket = socket;
    this.#events = events;
    this.#logger = logger.child({ nodeId: this.nodeId, sessionId: this.id });
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#onMessage(data, isBinary));
    socket.on('ping', () => this.open && events.heard(this));
    socket.on('close', () => this.#end());
  }

  /** The newest sequence number that was sent. */
  get seq(): number {
    return this.#seq;
  }

  get open(): boolean {
    return this.#open;
  }

  sendFull(set: AssignmentSet): number {
    this.#seq += 1;
    this.send({ type: 'full', seq: this.#seq, set: mutable(this.#known(setToLists(set))) });
    return this.#seq;
  }

  sendChange(diff: AssignmentDiff): number {
    this.#seq += 1;
    this.send({ type: 'change', seq: this.#seq, put: this.#known(diff.put), drop: diff.drop });
    return this.#seq;
  }

  /** Each port that the node can not be told of is named once. */
  #known<T extends { readonly services?: readonly ServiceAssignment[] }>(lists: T): T {
    const told = this.#knownPorts.of(lists);
    for (const port of told.left) {
      if (this.#leftPorts.has(port)) continue;
      this.#leftPorts.add(port);
      this.#logger.warn({ port }, 'not published on this node: its version does not know such addresses');
    }
    return told.lists;
  }

  confirmStatuses(id: number): void {
    this.send({ type: 'status-ack', id });
  }

  send(frame: ManagerFrame | Buffer): void {
    if (!this.open) return;
    this.#socket.send(Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#logger.warn({ bufferedBytes: this.#socket.bufferedAmount }, 'the node does not read: cut off');
      this.#socket.terminate();
    }
  }

  /** Ends the session now; the node is told why. */
  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
    this.#end();
    // The node may not answer the close: a socket that is fenced must not linger.
    const timer = setTimeout(() => this.#socket.terminate(), 1000);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (!this.open) return;
    this.#events.heard(this);
    if (!isBinary && data.equals(BEAT)) return;
    try {
      if (isBinary) this.calls.onData(data);
      else this.#onFrame(parseAgentFrame(data.toString('utf8'), this.#tolerate));
    } catch (error) {
      this.#broken(describeError(error));
    }
  }

  /** Said once for each. */
  #onUnknown(field: string): void {
    if (this.#unknown.has(field)) return;
    this.#unknown.add(field);
    this.#logger.warn({ field }, 'a newer node says what this version does not know');
  }

  #broken(how: string): void {
    this.#events.broken(this, how);
    this.close(CLOSE.protocolError, closeReason(how));
  }

  #onFrame(frame: AgentFrame): void {
    switch (frame.type) {
      case 'ack':
        return this.#events.acked(this, frame.seq);
      case 'status':
        return this.#events.statuses(this, frame);
      case 'tunnel-keys':
        return this.#events.rekeyed(this, frame.keys);
      case 'usage':
        return this.#events.usage(this, frame.tasks);
      case 'network':
        return this.#events.networks.take(this, frame.report);
      case 'response':
        return this.calls.onResponse(frame);
      case 'end':
        return this.calls.onEnd(frame);
      case 'credit':
        return this.calls.onCredit(frame.id, frame.bytes);
      case 'beat':
        return;
      case 'hello':
        return this.#broken('hello was said twice');
    }
  }

  #end(): void {
    if (!this.open) return;
    this.#open = false;
    this.#ended.abort();
    this.calls.close();
    this.#events.closed(this);
  }
}

/** The frame's type has mutable arrays (a schema's output); it is only written out. */
function mutable(lists: ReturnType<typeof setToLists>): Extract<ManagerFrame, { type: 'full' }>['set'] {
  return lists;
}
