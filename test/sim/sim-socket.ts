/** Two ends of a WebSocket over a simulated wire: what `ws` offers, as far as a session uses it. */
import { EventEmitter } from 'node:events';
import type { SimProcess, Timeline } from './timeline.ts';

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3] as const;

/** One direction of a connection. Frames arrive in order; while it is blocked they wait, as TCP keeps them. */
export class Wire {
  readonly #time: Timeline;
  readonly #latency: () => number;
  readonly #isBlocked: () => boolean;
  readonly #waiting: (() => void)[] = [];
  #lastAt = 0;
  #cut = false;

  constructor(time: Timeline, latency: () => number, isBlocked: () => boolean) {
    this.#time = time;
    this.#latency = latency;
    this.#isBlocked = isBlocked;
  }

  /** Runs it at the other end, whose process is `receiver`. */
  carry(receiver: SimProcess, run: () => void): void {
    if (this.#cut) return;
    // In order of sending, whatever each one's latency.
    const at = Math.max(this.#time.now + this.#latency(), this.#lastAt);
    this.#lastAt = at;
    const arrive = (): void => {
      if (this.#cut) return;
      if (this.#isBlocked() || this.#waiting.length > 0) this.#waiting.push(deliver);
      else deliver();
    };
    const deliver = (): void => {
      // To the process at once, or when its event loop turns again.
      this.#time.in(0, () => this.#cut || run(), receiver);
    };
    this.#time.world(at - this.#time.now, arrive);
  }

  /** The way is free again. */
  unblock(): void {
    for (const deliver of this.#waiting.splice(0)) deliver();
  }

  /** What is under way is lost, and all that is sent from now on. */
  cut(): void {
    this.#cut = true;
    this.#waiting.length = 0;
  }
}

export class SimSocket extends EventEmitter {
  readonly owner: SimProcess;
  readyState: number = CONNECTING;
  readonly bufferedAmount = 0;
  readonly #time: Timeline;
  #peer: SimSocket | undefined;
  #wire: Wire | undefined;

  constructor(time: Timeline, owner: SimProcess) {
    super();
    this.#time = time;
    this.owner = owner;
  }

  /** `wire` leads to `peer`. */
  open(peer: SimSocket, wire: Wire): void {
    this.#peer = peer;
    this.#wire = wire;
    this.readyState = OPEN;
  }

  send(data: string | Buffer): void {
    if (this.readyState !== OPEN) return;
    const isBinary = typeof data !== 'string';
    this.#toPeer((peer) => peer.receive('message', Buffer.from(data), isBinary));
  }

  ping(): void {
    if (this.readyState !== OPEN) return;
    this.#toPeer((peer) => {
      peer.receive('ping');
      peer.pong();
    });
  }

  pong(): void {
    if (this.readyState === OPEN) this.#toPeer((peer) => peer.receive('pong'));
  }

  close(code = 1000, reason = ''): void {
    if (this.readyState === CONNECTING) return this.terminate();
    if (this.readyState !== OPEN) return;
    this.readyState = CLOSING;
    this.#toPeer((peer) => {
      if (peer.readyState === CLOSED) return;
      peer.#answerClose();
      peer.ended(code, reason);
    });
  }

  terminate(): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSING;
    this.#toPeer((peer) => peer.ended(1006, ''));
    this.#time.in(0, () => this.ended(1006, ''), this.owner);
  }

  /** It never came to be. */
  fail(error: Error): void {
    if (this.readyState !== CONNECTING) return;
    this.emit('error', error);
    this.ended(1006, '');
  }

  ended(code: number, reason: string): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.emit('close', code, Buffer.from(reason));
  }

  receive(event: 'message' | 'ping' | 'pong', ...args: unknown[]): void {
    if (this.readyState === OPEN || this.readyState === CLOSING) this.emit(event, ...args);
  }

  /** Its process has died: the kernel closes what it had. */
  hangUp(): void {
    this.readyState = CLOSED;
    this.#toPeer((peer) => peer.ended(1006, ''));
  }

  #answerClose(): void {
    this.#toPeer((peer) => peer.ended(1005, ''));
  }

  #toPeer(run: (peer: SimSocket) => void): void {
    const peer = this.#peer;
    if (peer !== undefined) this.#wire?.carry(peer.owner, () => run(peer));
  }
}
