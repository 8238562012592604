/**
 * An agent without containers: the product's socket, heartbeats, frames and status queue, and in place of a worker the
 * claim that every task which shall run does.
 */
import { connectWebSocket, SessionSocket, type SessionTls } from '../../../agent/session/session-socket.ts';
import { RECONNECT_BASE_MS, RECONNECT_MAX_MS } from '../../../agent/session/session-link.ts';
import { type StatusBatch, StatusQueue } from '../../../agent/session/status-queue.ts';
import { delay } from '../../../shared/lib/abort.ts';
import { backoffMs } from '../../../shared/lib/backoff.ts';
import { newContainerId } from '../../../shared/lib/ids.ts';
import type { NodeDescription, TaskAssignment, TaskState } from '../../../shared/model/index.ts';
import { type ManagerFrame, PROTOCOL } from '../../../shared/wire/frames.ts';
import type { Door } from './door.ts';

export interface AgentIdentity {
  readonly nodeId: string;
  readonly cert: string;
  readonly description: NodeDescription;
}

export interface AgentSurroundings {
  readonly manager: string;
  readonly ca: string;
  /** All simulated nodes have the same key, each a certificate of its own. */
  readonly key: string;
}

/** What all agents of the process count together. */
export interface AgentCounts {
  sessions: number;
  /** Tasks that shall run and whose `running` the manager has confirmed: it is in etcd. */
  running: number;
}

export class SimulatedAgent {
  readonly #identity: AgentIdentity;
  readonly #around: AgentSurroundings;
  readonly #tls: SessionTls;
  readonly #counts: AgentCounts;
  readonly #door: Door;
  readonly #states = new Map<string, TaskState>();
  /** Those that are counted. */
  readonly #running = new Set<string>();
  readonly #queue = new StatusQueue();
  #batch: StatusBatch | undefined;
  #socket: SessionSocket | undefined;
  #welcomed = false;
  #sendScheduled = false;

  constructor(identity: AgentIdentity, around: AgentSurroundings, counts: AgentCounts, door: Door) {
    this.#identity = identity;
    this.#around = around;
    this.#tls = { ca: around.ca, cert: identity.cert, key: around.key };
    this.#counts = counts;
    this.#door = door;
  }

  /** `onWelcome` is called for the first session. */
  async run(onWelcome: () => void, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; ) {
      await this.#runSession(attempt, onWelcome, signal);
      attempt = this.#welcomed ? 0 : attempt + 1;
      if (this.#welcomed) this.#counts.sessions -= 1;
      this.#welcomed = false;
      this.#queue.reset();
      const waitMs = backoffMs(attempt, RECONNECT_BASE_MS, RECONNECT_MAX_MS, Math.random());
      await delay(waitMs, signal).catch(() => undefined);
    }
  }

  /** Handshakes wait for their turn: real agents have a processor each, these have one together. */
  async #runSession(attempt: number, onWelcome: () => void, signal: AbortSignal): Promise<void> {
    const { nodeId, description } = this.#identity;
    const leave = await this.#door.enter();
    const socket = new SessionSocket(connectWebSocket(this.#around.manager, this.#tls, attempt), {
      onOpen: () => {
        leave();
        socket.send({ type: 'hello', protocol: PROTOCOL, nodeId, description });
      },
      onFrame: (frame) => this.#onFrame(socket, frame, onWelcome),
      onData: () => undefined,
    });
    this.#socket = socket;
    await socket.ended(signal);
    leave();
  }

  #onFrame(socket: SessionSocket, frame: ManagerFrame, onWelcome: () => void): void {
    switch (frame.type) {
      case 'welcome':
        if (!this.#welcomed) this.#counts.sessions += 1;
        this.#welcomed = true;
        socket.beat(frame.beatMs);
        onWelcome();
        return this.#scheduleSend();
      case 'full':
        for (const row of frame.set.tasks) this.#take(row);
        return socket.send({ type: 'ack', seq: frame.seq });
      case 'change':
        for (const row of frame.put.tasks ?? []) this.#take(row);
        for (const taskId of frame.drop.tasks ?? []) {
          this.#states.delete(taskId);
          this.#uncount(taskId);
        }
        return socket.send({ type: 'ack', seq: frame.seq });
      case 'status-ack':
        this.#confirmed(frame.id);
        return this.#scheduleSend();
      default:
        return;
    }
  }

  #take({ taskId, desired }: TaskAssignment): void {
    const state = desired === 'running' || desired === 'ready' ? desired : 'shutdown';
    if (this.#states.get(taskId) === state) return;
    this.#states.set(taskId, state);
    // A leader that lost etcd in the middle may have filled a slot twice; one of the two is stopped again.
    if (state !== 'running') this.#uncount(taskId);
    const atMs = Date.now();
    const container = { containerId: newContainerId(), pid: process.pid };
    const started = state === 'running' ? { startedAtMs: atMs, container } : {};
    this.#queue.add({ taskId, state, atMs, message: state === 'running' ? 'started' : state, ...started });
    this.#scheduleSend();
  }

  /** As the product does: statuses of one turn go in one frame; while one is under way, the next gathers. */
  #scheduleSend(): void {
    if (this.#sendScheduled || !this.#welcomed) return;
    this.#sendScheduled = true;
    setImmediate(() => {
      this.#sendScheduled = false;
      const batch = this.#welcomed ? this.#queue.next() : undefined;
      if (batch === undefined) return;
      this.#batch = batch;
      this.#socket?.send({ type: 'status', id: batch.id, statuses: [...batch.statuses] });
    });
  }

  #confirmed(id: number): void {
    for (const { taskId, state } of this.#batch?.id === id ? this.#batch.statuses : []) {
      if (state !== 'running' || this.#states.get(taskId) !== 'running' || this.#running.has(taskId))
        continue;
      this.#running.add(taskId);
      this.#counts.running += 1;
    }
    this.#queue.acked(id);
  }

  #uncount(taskId: string): void {
    if (this.#running.delete(taskId)) this.#counts.running -= 1;
  }
}
