/** The network between machines and managers: latency, one-way and two-way partitions, connections that break. */
import type { Prng } from '../../shared/lib/prng.ts';
import { SimSocket, Wire } from './sim-socket.ts';
import type { SimProcess, Timeline } from './timeline.ts';

const HANDSHAKE_TIMEOUT_MS = 5000;

/** Which of a machine's packets are lost: those to the managers, those from them, or both. */
export type Partition = 'none' | 'up' | 'down' | 'both';

interface Listener {
  readonly process: SimProcess;
  readonly onSocket: (socket: SimSocket, nodeId: string) => void;
}

interface Connection {
  readonly nodeId: string;
  readonly client: SimSocket;
  readonly server: SimSocket;
  readonly up: Wire;
  readonly down: Wire;
}

export class Network {
  readonly #time: Timeline;
  readonly #random: Prng;
  readonly #listeners = new Map<string, Listener>();
  readonly #partitions = new Map<string, Partition>();
  #connections: Connection[] = [];
  /** Of one frame, at most. */
  latencyMs = 10;

  constructor(time: Timeline, random: Prng) {
    this.#time = time;
    this.#random = random;
  }

  listen(address: string, listener: Listener): void {
    this.#listeners.set(address, listener);
  }

  /** A client's socket, connecting. Of the process that runs now. */
  connect(nodeId: string, address: string): SimSocket {
    const owner = this.#time.current;
    if (owner === undefined) throw new Error('nobody connects');
    const client = new SimSocket(this.#time, owner);
    this.#time.in(HANDSHAKE_TIMEOUT_MS, () => client.fail(new Error('Opening handshake has timed out')));
    this.#time.world(this.#latency() * 3, () => this.#accept(client, nodeId, address));
    return client;
  }

  partition(nodeId: string, partition: Partition): void {
    this.#partitions.set(nodeId, partition);
    for (const one of this.#connections.filter((other) => other.nodeId === nodeId)) {
      if (!blocks(partition, 'up')) one.up.unblock();
      if (!blocks(partition, 'down')) one.down.unblock();
    }
  }

  partitionOf(nodeId: string): Partition {
    return this.#partitions.get(nodeId) ?? 'none';
  }

  /** The process is gone, its kernel is not: both ends learn it. */
  hangUp(process: SimProcess): void {
    for (const { client, server } of this.#connections) {
      if (client.owner === process) client.hangUp();
      if (server.owner === process) server.hangUp();
    }
    this.#forgetClosed();
  }

  /** The machine is gone: nobody says anything any more. */
  vanish(nodeId: string): void {
    for (const one of this.#connections) {
      if (one.nodeId !== nodeId) continue;
      one.up.cut();
      one.down.cut();
    }
    this.#connections = this.#connections.filter((one) => one.nodeId !== nodeId);
  }

  /** Breaks the node's connections, with what is under way on them. */
  reset(nodeId: string): void {
    for (const { client, server, up, down } of this.#connections.filter((one) => one.nodeId === nodeId)) {
      up.cut();
      down.cut();
      for (const end of [client, server]) this.#time.in(0, () => end.ended(1006, ''), end.owner);
    }
    this.#connections = this.#connections.filter((one) => one.nodeId !== nodeId);
  }

  #accept(client: SimSocket, nodeId: string, address: string): void {
    if (!client.owner.alive || this.partitionOf(nodeId) !== 'none') return;
    const listener = this.#listeners.get(address);
    if (listener === undefined || !listener.process.alive) {
      this.#time.in(0, () => client.fail(new Error(`connect ECONNREFUSED ${address}`)), client.owner);
      return;
    }
    const server = new SimSocket(this.#time, listener.process);
    const wire = (direction: 'up' | 'down'): Wire =>
      new Wire(
        this.#time,
        () => this.#latency(),
        () => blocks(this.partitionOf(nodeId), direction),
      );
    const [up, down] = [wire('up'), wire('down')];
    this.#forgetClosed();
    this.#connections.push({ nodeId, client, server, up, down });
    server.open(client, down);
    this.#time.in(0, () => listener.onSocket(server, nodeId), listener.process);
    const opened = (): void => {
      if (client.readyState !== 0) return;
      client.open(server, up);
      client.emit('open');
    };
    down.carry(client.owner, opened);
  }

  #forgetClosed(): void {
    this.#connections = this.#connections.filter(
      ({ client, server }) => client.readyState !== 3 || server.readyState !== 3,
    );
  }

  #latency(): number {
    return 1 + this.#random.below(this.latencyMs);
  }
}

function blocks(partition: Partition, direction: 'up' | 'down'): boolean {
  return partition === 'both' || partition === direction;
}
