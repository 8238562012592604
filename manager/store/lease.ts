/**
 * An etcd lease that knows when it may have run out. The library's Lease believes in itself for twice its TTL after
 * the last answer; here the time counts from when the last answered request was sent, which is earlier than when etcd
 * began to count, so this side always gives up first.
 */
import type { Etcd3 } from 'etcd3';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';

type KeepAliveStream = Awaited<ReturnType<Etcd3['leaseClient']['leaseKeepAlive']>>;

/** Requests in one TTL. */
const RENEWALS = 4;
const RETRY_MS = 100;

export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

export class Lease {
  /** etcd's number of it, decimal. */
  readonly id: string;
  readonly ttlMs: number;
  readonly #client: Etcd3;
  #validUntilMs: number;

  private constructor(client: Etcd3, id: string, ttlMs: number, grantedAtMs: number) {
    this.#client = client;
    this.id = id;
    this.ttlMs = ttlMs;
    this.#validUntilMs = grantedAtMs + ttlMs;
  }

  /** Asks for one. etcd may grant more than was asked (1.5 times its election timeout at least), never less. */
  static async grant(client: Etcd3, ttlSeconds: number): Promise<Lease> {
    const sentAtMs = performance.now();
    const { ID, TTL } = await client.leaseClient.leaseGrant({ TTL: ttlSeconds });
    return new Lease(client, ID, Number(TTL) * 1_000, sentAtMs);
  }

  /** Renews it until the signal aborts; then resolves. Rejects with LeaseLostError when it has or may have run out. */
  async keep(signal: AbortSignal): Promise<void> {
    let failure: unknown;
    while (!signal.aborted) {
      const leftMs = this.#validUntilMs - performance.now();
      if (leftMs <= 0) throw new LeaseLostError('the lease could not be renewed in time', { cause: failure });
      try {
        await this.#renewUntilFailure(signal);
      } catch (error) {
        if (error instanceof LeaseLostError) throw error;
        failure = error;
        await delay(Math.min(RETRY_MS, Math.max(1, leftMs)), signal).catch(() => undefined);
      }
    }
  }

  /** Gives it back; its keys vanish at once. Rejects when etcd can not be reached: then they vanish with time. */
  async revoke(): Promise<void> {
    await this.#client.leaseClient.leaseRevoke({ ID: this.id });
  }

  /** One stream, one renewal every quarter of the TTL. Resolves when aborted, rejects when the stream fails. */
  async #renewUntilFailure(signal: AbortSignal): Promise<void> {
    const stream = await this.#client.leaseClient.leaseKeepAlive();
    try {
      while (!signal.aborted) {
        const sentAtMs = performance.now();
        const timeoutMs = Math.max(1, Math.min(this.ttlMs / 2, this.#validUntilMs - sentAtMs));
        const ttl = await renewOnce(stream, this.id, timeoutMs, signal);
        if (ttl === 0) throw new LeaseLostError('etcd has ended the lease');
        this.#validUntilMs = sentAtMs + ttl * 1_000;
        await delay(this.ttlMs / RENEWALS, signal).catch(() => undefined);
      }
    } finally {
      stream.end();
      stream.cancel();
    }
  }
}

/** Sends one request and resolves with the seconds that the lease has now; 0: it is gone. */
function renewOnce(
  stream: KeepAliveStream,
  id: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<number> {
  // The library declares no way to take a listener off, though the stream is an event emitter.
  const emitter = stream as unknown as NodeJS.EventEmitter;
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer);
      emitter.off('data', onData);
      emitter.off('end', onEnd);
      emitter.off('error', onError);
      signal.removeEventListener('abort', onAbort);
    };
    const onData = (response: { TTL: string }): void => {
      settle();
      resolve(Number(response.TTL));
    };
    const onError = (error: unknown): void => {
      settle();
      reject(new Error(`the lease's stream failed: ${describeError(error)}`, { cause: error }));
    };
    const onEnd = (): void => onError(new Error('etcd ended it'));
    const onAbort = (): void => onError(signal.reason);
    const timer = setTimeout(() => onError(new Error('no answer')), timeoutMs);
    if (signal.aborted) return onAbort();
    emitter.on('data', onData);
    emitter.on('end', onEnd);
    emitter.on('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
    stream.write({ ID: id });
  });
}
