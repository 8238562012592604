/**
 * Writes to etcd. Commits that wait are grouped into one transaction, since a transaction costs etcd about the same
 * whatever it holds (one entry in its log, one fsync). When a group's comparisons fail, nothing of it was written, and
 * its members are tried one by one.
 */
import { setMaxListeners } from 'node:events';
import type { Etcd3, ITxnResponse } from 'etcd3';
import { GRPCInvalidArgumentError } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';
import { chooseGroup, CommitLocks } from './commit-locks.ts';
import { mapEtcdError } from './etcd-client.ts';
import type { Mirror } from './mirror.ts';
import { StaleError } from './store.ts';
import type { CommitOptions, StoreObserver, Write } from './store.ts';
import { fencedMembers, inFormOf, madeEvents, otherForm, prepare, transactionOf } from './transaction.ts';
import type { Prepared } from './transaction.ts';

export interface CommitLimits {
  /** Of one commit; etcd's --max-txn-ops (its default is 128, the embedded etcd has 10,000). */
  readonly commitOperations: number;
  /** Of one commit; below etcd's --max-request-bytes (its default is 1.5 MiB, the embedded etcd has 16 MiB). */
  readonly commitBytes: number;
  /** Of a group. */
  readonly groupOperations: number;
  readonly groupBytes: number;
  /** Transactions on their way at the same time. */
  readonly inFlight: number;
}

export const DEFAULT_LIMITS: CommitLimits = {
  commitOperations: 10_000,
  commitBytes: 12 * 1024 * 1024,
  groupOperations: 2_000,
  groupBytes: 1024 * 1024,
  inFlight: 2,
};

/**
 * etcd answers in milliseconds, but what its leader had when it died is answered by nobody, until the call's deadline. Others
 * need not wait for that: a commit that compares all that it writes can not overtake another one.
 */
const LOST_AFTER_MS = 1_000;
/** A watch that is silent for so long is taken for dead and opened again; after the second, the caller is told. */
const MIRROR_OVERDUE_MS = 2_000;
const MIRROR_TIMEOUT_MS = 15_000;
/** What every etcd accepts by default. */
const SAFE_GROUP_OPERATIONS = 127; // and the comparison of the stored data's version
/** Of a commit, while the version of the stored data changes. */
const FORM_ATTEMPTS = 5;

interface Waiting {
  readonly commit: Prepared;
  readonly resolve: (revision: number) => void;
  readonly reject: (error: unknown) => void;
}

export class Committer {
  readonly #client: Etcd3;
  readonly #mirror: Mirror;
  readonly #logger: Logger;
  readonly #limits: CommitLimits;
  readonly #observer: StoreObserver | undefined;
  readonly #busy = new CommitLocks();
  #groupOperations: number;
  #queue: Waiting[] = [];
  #inFlight = 0;
  #scheduled = false;
  #closed = false;

  constructor(
    client: Etcd3,
    mirror: Mirror,
    logger: Logger,
    limits: CommitLimits = DEFAULT_LIMITS,
    observer?: StoreObserver,
  ) {
    this.#observer = observer;
    this.#client = client;
    this.#mirror = mirror;
    this.#logger = logger;
    this.#limits = limits;
    this.#groupOperations = limits.groupOperations;
  }

  /** As `Store.commit`. */
  async commit(writes: readonly Write[], options: CommitOptions): Promise<number> {
    const startedMs = performance.now();
    const seconds = (): number => (performance.now() - startedMs) / 1000;
    try {
      const revision = await this.#commit(writes, options);
      this.#observer?.committed(seconds(), 'written');
      return revision;
    } catch (error) {
      if (!isAbort(error))
        this.#observer?.committed(seconds(), error instanceof StaleError ? 'stale' : 'failed');
      throw error;
    }
  }

  async #commit(writes: readonly Write[], options: CommitOptions): Promise<number> {
    const { guards = [], fence, signal } = options;
    signal.throwIfAborted();
    if (this.#closed) throw new UnavailableError('the store is closed');
    const commit = prepare(writes, guards, fence, this.#mirror.schema);
    this.#checkSize(commit);
    return this.#enqueue(commit, signal);
  }

  #checkSize({ operations, compares, bytes }: Prepared): void {
    const { commitOperations, commitBytes } = this.#limits;
    // A fence is one comparison more, the version of the stored data another.
    const count = Math.max(operations.length, compares.length + 2);
    if (count > commitOperations) {
      throw new InvalidError(
        `a commit of ${count} operations exceeds the ${commitOperations} of one transaction`,
      );
    }
    if (bytes > commitBytes) {
      throw new InvalidError(`a commit of ${bytes} bytes exceeds the ${commitBytes} of one transaction`);
    }
  }

  #enqueue(commit: Prepared, signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        // What is still waiting is not sent; what is on its way may get written all the same.
        this.#queue = this.#queue.filter((other) => other !== waiting);
        reject(signal.reason);
      };
      const waiting: Waiting = {
        commit,
        resolve: (revision) => {
          signal.removeEventListener('abort', onAbort);
          resolve(revision);
        },
        reject: (error) => {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      };
      // Hundreds of commits may share a signal; that is no leak, each takes its listener away.
      setMaxListeners(0, signal);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#queue.push(waiting);
      this.#schedule();
    });
  }

  /** Lets what is committed in the same turn of the event loop gather first. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#inFlight < this.#limits.inFlight && this.#queue.length > 0) {
      const limits = { operations: this.#groupOperations, bytes: this.#limits.groupBytes };
      const positions = chooseGroup(
        this.#queue.map(({ commit }) => commit),
        this.#busy,
        limits,
      );
      if (positions.length === 0) return;
      const chosen = new Set(positions);
      const group = this.#queue.filter((_, position) => chosen.has(position));
      this.#queue = this.#queue.filter((_, position) => !chosen.has(position));
      this.#start(group);
    }
  }

  #start(group: readonly Waiting[]): void {
    this.#inFlight += 1;
    const held = new Set(group.map(({ commit }) => commit));
    for (const commit of held) this.#busy.hold(commit);
    const release = (commit: Prepared): void => {
      if (held.delete(commit)) this.#busy.release(commit);
    };
    let counted = true;
    const goOn = (): void => {
      if (counted) this.#inFlight -= 1;
      counted = false;
      this.#schedule();
    };
    const lost = setTimeout(() => {
      for (const commit of [...held]) if (commit.comparesAll) release(commit);
      goOn();
    }, LOST_AFTER_MS);
    void this.#send(group, () => {
      clearTimeout(lost);
      for (const commit of [...held]) release(commit);
      goOn();
    });
  }

  /** Settles every member. `answered` is called once etcd has answered for all: others may go on then. */
  async #send(group: readonly Waiting[], answered: () => void): Promise<void> {
    let alone: readonly Waiting[];
    try {
      alone = await this.#attempt(group);
    } catch (error) {
      answered();
      for (const member of group) member.reject(mapEtcdError(error, 'commit'));
      return;
    }
    await Promise.all(alone.map((member) => this.#sendAlone(member)));
    answered();
  }

  async #sendAlone(member: Waiting): Promise<void> {
    try {
      const [refused] = await this.#attempt([member]);
      refused?.reject(new StaleError(`changed meanwhile: ${describe(member.commit)}`, false));
    } catch (error) {
      member.reject(mapEtcdError(error, 'commit'));
    }
  }

  /** Sends one transaction. Returns the members that were refused for another reason than their fence. */
  async #attempt(group: readonly Waiting[]): Promise<readonly Waiting[]> {
    let commits: readonly Prepared[];
    let response: ITxnResponse;
    try {
      ({ commits, response } = await this.#transact(group));
    } catch (error) {
      if (group.length === 1 || !(error instanceof GRPCInvalidArgumentError)) throw error;
      this.#lowerLimit(error);
      return group;
    }
    if (response.succeeded) {
      void this.#resolveWhenMirrored(group, response);
      return [];
    }
    const fenced = fencedMembers(commits, response);
    const isFenced = (index: number): boolean => commits.some((one, at) => at === index && fenced.has(one));
    for (const [index, { commit, reject }] of group.entries()) {
      if (isFenced(index)) reject(new StaleError(`${commit.fence?.key} is not the leader any more`, true));
    }
    return group.filter((_, index) => !isFenced(index));
  }

  /** In the form that the stored data has: when that has changed meanwhile, nothing was written, and it is sent in the new one. */
  async #transact(
    group: readonly Waiting[],
  ): Promise<{ readonly commits: readonly Prepared[]; readonly response: ITxnResponse }> {
    const { schema } = this.#mirror;
    for (let attempt = 1; ; attempt += 1) {
      const { guard } = schema;
      const commits = group.map(({ commit }) => inFormOf(commit, schema));
      const response = await this.#client.kv.txn(transactionOf(commits, guard));
      if (response.succeeded || !otherForm(guard, response)) return { commits, response };
      if (attempt === FORM_ATTEMPTS)
        throw new UnavailableError('the stored data is being brought forward: try again');
      await this.#mirrored(Number(response.header.revision));
    }
  }

  /** An external etcd may have its default limits. */
  #lowerLimit(error: Error): void {
    this.#groupOperations = Math.min(this.#groupOperations, SAFE_GROUP_OPERATIONS);
    this.#logger.warn(
      { error: error.message, operations: this.#groupOperations },
      'etcd refuses a group of commits: grouping fewer from now on (see --max-txn-ops)',
    );
  }

  async #resolveWhenMirrored(group: readonly Waiting[], response: ITxnResponse): Promise<void> {
    const revision = Number(response.header.revision);
    try {
      const answeredMs = performance.now();
      if (madeEvents(response)) await this.#mirrored(revision);
      this.#observer?.mirrored((performance.now() - answeredMs) / 1000);
      for (const member of group) member.resolve(revision);
    } catch (error) {
      for (const member of group) member.reject(error);
    }
  }

  async #mirrored(revision: number): Promise<void> {
    if (this.#mirror.revision >= revision) return;
    const overdue = setInterval(() => this.#mirror.restartWatch(MIRROR_OVERDUE_MS), MIRROR_OVERDUE_MS);
    try {
      await this.#mirror.waitFor(revision, AbortSignal.timeout(MIRROR_TIMEOUT_MS));
    } finally {
      clearInterval(overdue);
    }
  }

  /** Rejects what is waiting and will not be sent any more. */
  close(): void {
    this.#closed = true;
    const waiting = this.#queue;
    this.#queue = [];
    for (const member of waiting) member.reject(new UnavailableError('the store is closed'));
  }
}

function describe(commit: Prepared): string {
  const keys = [...commit.written, ...commit.guarded];
  return keys.length <= 3 ? keys.join(', ') : `${keys.slice(0, 3).join(', ')} and ${keys.length - 3} more`;
}
