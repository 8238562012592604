/**
 * Leader election among managers, as etcd's own recipe does it: every candidate puts a key under a lease, and the key
 * that was created first leads until it is gone. A key that leads never stops leading before it vanishes, so a
 * transaction that compares its create revision (a Fence) is one of the leader.
 */
import type { Etcd3 } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { describeError } from '../../shared/errors/index.ts';
import { delay, isAbort } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { Candidates } from './candidates.ts';
import { ELECTION_PREFIX } from './keys.ts';
import { Lease } from './lease.ts';
import { rangePages } from './range-pages.ts';
import type { Fence } from './store.ts';
import { watchSuccession } from './succession.ts';

export interface ElectionOptions {
  readonly client: Etcd3;
  /** Who stands: this manager's node id. */
  readonly id: string;
  /** After this long without etcd hearing of it a candidate is out. Default 3; etcd may grant more, see Lease. */
  readonly ttlSeconds?: number;
  readonly logger: Logger;
}

/** Leads until the signal aborts. Returning earlier gives the leadership up. */
export type OnLeader = (fence: Fence, signal: AbortSignal) => Promise<void>;

const TTL_SECONDS = 3;
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 2_000;
/** A leader's work that ignores its abort keeps this manager from standing again; say so. */
const SLOW_END_MS = 10_000;

export class Election {
  readonly #options: ElectionOptions;
  readonly #candidates: Candidates;
  /** Of a candidacy that ended while etcd was away: its key would make the next one wait. */
  #abandoned: Lease | undefined;
  #stoodBefore = false;
  #stands = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#candidates = new Candidates(options.client, options.logger);
  }

  /** Id of the manager that leads, as far as this one has heard; undefined when nobody does. Needs `run`. */
  get leaderId(): string | undefined {
    return this.#candidates.leader?.id;
  }

  /** Ids of the managers that etcd hears of: who has died is here until its lease ends. Needs `run`. */
  get alive(): ReadonlySet<string> {
    return this.#candidates.ids;
  }

  /** True while etcd hears of this manager. */
  get stands(): boolean {
    return this.#stands;
  }

  /** Called when the leader may have changed. Returns the undo. */
  onChange(listener: (leaderId: string | undefined) => void): () => void {
    return this.#candidates.onChange(() => listener(this.leaderId));
  }

  /**
   * Stands for election again and again until the signal aborts, then resigns and resolves. `onLeader` is called with
   * a signal that aborts as soon as the leadership is, or may be, lost; the next candidacy begins when it has ended.
   * Never rejects: neither etcd's absence nor what `onLeader` throws ends it.
   */
  async run(signal: AbortSignal, onLeader: OnLeader): Promise<void> {
    const observing = this.#candidates.run(signal);
    let attempt = 0;
    while (!signal.aborted) {
      try {
        const led = await this.#stand(signal, onLeader);
        attempt = led ? 0 : attempt + 1;
      } catch (error) {
        if (signal.aborted) break;
        attempt += 1;
        this.#options.logger.warn({ error: describeError(error) }, 'the candidacy for leader ended');
      }
      const waitMs = backoffMs(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random());
      await delay(waitMs, signal).catch(() => undefined);
    }
    await observing;
  }

  /** One candidacy from its lease to its end. True when it led. */
  async #stand(signal: AbortSignal, onLeader: OnLeader): Promise<boolean> {
    const { client, ttlSeconds = TTL_SECONDS } = this.#options;
    await this.#abandoned?.revoke().catch(() => undefined);
    this.#abandoned = undefined;
    if (!this.#stoodBefore) await this.#clearOwnPast(signal);
    this.#stoodBefore = true;
    const lease = await Lease.grant(client, ttlSeconds);
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    const keeping = lease.keep(until).then(
      () => undefined,
      (error: unknown) => over.abort(error),
    );
    try {
      const fence = await this.#enter(lease);
      this.#stands = !until.aborted;
      until.addEventListener('abort', () => void (this.#stands = false), { once: true });
      const unwatch = this.#endWhenGone(fence, over);
      try {
        await this.#inLine(fence, until);
        await this.#lead(fence, until, onLeader);
        return true;
      } finally {
        unwatch();
      }
    } finally {
      over.abort();
      this.#stands = false;
      await keeping;
      await lease.revoke().catch(() => {
        this.#abandoned = lease;
      });
    }
  }

  /**
   * The key of an earlier process of this manager. That was killed, else it would have resigned, and until its lease has run
   * out nobody would lead. Should it live after all, its key is gone, and its writes are refused.
   */
  async #clearOwnPast(signal: AbortSignal): Promise<void> {
    const { client, id } = this.#options;
    for await (const { kvs } of rangePages(client, ELECTION_PREFIX, signal)) {
      for (const { key, value } of kvs) if (value.toString() === id) await client.kv.deleteRange({ key });
    }
  }

  async #enter(lease: Lease): Promise<Fence> {
    const key = `${ELECTION_PREFIX}${BigInt(lease.id).toString(16).padStart(16, '0')}`;
    const { client, id } = this.#options;
    const { header } = await client.kv.put({
      key: Buffer.from(key),
      value: Buffer.from(id),
      lease: lease.id,
    });
    // The lease is new and so is the key: this revision created it.
    return { key, createRevision: header.revision };
  }

  /** Ends the candidacy when its key is seen to be gone, whoever removed it. */
  #endWhenGone(fence: Fence, over: AbortController): () => void {
    const check = (): void => {
      if (this.#candidates.revision < Number(fence.createRevision)) return;
      if (this.#candidates.get(fence.key)?.createRevision === fence.createRevision) return;
      over.abort(new Error('the key of the candidacy is gone'));
    };
    const undo = this.#candidates.onChange(check);
    check();
    return undo;
  }

  /** Until it is the first, which those before it may die for. */
  async #inLine(fence: Fence, until: AbortSignal): Promise<void> {
    const { client, logger } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([until, over.signal]);
    const leader = () => {
      const first = this.#candidates.leader;
      return first?.key === fence.key ? undefined : first;
    };
    void watchSuccession({ client, leader, logger }, signal);
    try {
      await this.#untilFirst(fence, until);
    } finally {
      over.abort();
    }
  }

  #untilFirst(fence: Fence, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const isFirst = (): boolean => {
        const { leader } = this.#candidates;
        return leader?.key === fence.key && leader.createRevision === fence.createRevision;
      };
      const settle = (): void => {
        undo();
        signal.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        settle();
        reject(signal.reason);
      };
      const check = (): void => {
        if (!isFirst()) return;
        settle();
        resolve();
      };
      const undo = this.#candidates.onChange(check);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) return onAbort();
      check();
    });
  }

  async #lead(fence: Fence, signal: AbortSignal, onLeader: OnLeader): Promise<void> {
    const { logger, id } = this.#options;
    logger.info({ id, fence }, 'this manager leads');
    let slow: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      slow = setTimeout(
        () => logger.error({ id }, "the leader's work goes on after its leadership"),
        SLOW_END_MS,
      );
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await onLeader(fence, signal);
    } catch (error) {
      if (!isAbort(error) && !signal.aborted) {
        logger.error({ err: error }, "the leader's work failed: giving the leadership up");
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      clearTimeout(slow);
      logger.info(
        { id, why: signal.aborted ? describeError(signal.reason) : 'given up' },
        'this manager leads no more',
      );
    }
  }
}
