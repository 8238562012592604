/**
 * etcd as a manager's client sees it, in memory: ranges, transactions, watches, and their failures. Answers come late; when
 * it is away calls fail, some of them after they were done, and watches are lost; what is compacted can not be watched.
 */
import { EventEmitter } from 'node:events';
import {
  type Etcd3,
  GRPCResourceExhastedError,
  GRPCUnavailableError,
  type ICompare,
  type IKeyValue,
  type IRangeRequest,
  type IRangeResponse,
  type ITxnRequest,
  type ITxnResponse,
} from 'etcd3';
import { etcdKey, parseEtcdKey } from '../../manager/store/keys.ts';
import { type Change, StaleError, TABLE_NAMES, type Write } from '../../manager/store/store.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import type { MemoryStore } from './memory-store.ts';
import type { SimProcess, Timeline } from './timeline.ts';

/** Revisions that a watch can go back; more have been compacted. */
const KEPT_REVISIONS = 12;
const CALL_TIMEOUT_MS = 5000;

export interface Transaction {
  readonly manager: string;
  readonly writes: readonly Write[];
  /** The create revision that its fence compares, if it has one. */
  readonly fence: string | undefined;
}

interface Batch {
  readonly revision: number;
  readonly changes: readonly Change[];
}

export class SimEtcd {
  /** Nobody reaches it. */
  away = false;
  /** It does what it is asked, and its answers are lost. */
  mute = false;
  /** Its quota is used up: it takes nothing more but deletions. */
  full = false;
  /** Called with each transaction that wrote something. */
  onWritten: (transaction: Transaction) => void = () => undefined;
  refused = 0;
  stale = 0;
  commits = 0;
  unknown = 0;
  resyncs = 0;
  readonly store: MemoryStore;
  readonly #time: Timeline;
  readonly #random: Prng;
  readonly #batches: Batch[] = [];
  readonly #watches = new Set<WatchStream>();

  constructor(store: MemoryStore, time: Timeline, random: Prng) {
    this.store = store;
    this.#time = time;
    this.#random = random;
    store.onChange((changes) => {
      const batch = { revision: store.revision, changes };
      this.#batches.push(batch);
      if (this.#batches.length > KEPT_REVISIONS) this.#batches.shift();
      if (this.away) return;
      for (const watch of this.#watches) watch.send(batch);
    });
  }

  /** Begins, or ends, a time in which nobody reaches it. */
  setAway(away: boolean, mute = false): void {
    this.away = away && !mute;
    this.mute = away && mute;
    if (!away) return;
    for (const watch of this.#watches) watch.lose();
    this.#watches.clear();
  }

  /** A connection of its own for each manager. `lagMs`: how late the watch may be. */
  client(manager: string, owner: SimProcess, lagMs: number): Etcd3 {
    const client = {
      kv: {
        range: (request: IRangeRequest) => this.#call(owner, () => this.#range(request)),
        txn: (request: ITxnRequest) => this.#call(owner, () => this.#txn(manager, request)),
      },
      watchClient: { watch: () => this.#call(owner, () => this.#watch(owner, lagMs)) },
      close: () => undefined,
    };
    return client as unknown as Etcd3;
  }

  /** There, done, and back; each way takes its time, and may be the one on which it is lost. */
  #call<T>(owner: SimProcess, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = (settle: () => void, ms: number): void => void this.#time.in(ms, settle, owner);
      const lost = (): void =>
        answer(
          () => reject(new GRPCUnavailableError('14 UNAVAILABLE: no connection')),
          this.#random.below(8) === 0 ? CALL_TIMEOUT_MS : this.#random.below(50),
        );
      this.#time.world(this.#random.below(4), () => {
        if (this.away) return lost();
        try {
          const result = work();
          this.#time.world(this.#random.below(4), () => {
            if (!this.away && !this.mute) return answer(() => resolve(result), 0);
            this.unknown += 1;
            lost();
          });
        } catch (error) {
          answer(() => reject(error), this.#random.below(4));
        }
      });
    });
  }

  /** Without an end the mirror asks for the header only; else for all tables, which one page holds. */
  #range({ range_end }: IRangeRequest): IRangeResponse {
    const kvs: IKeyValue[] = [];
    if (range_end !== undefined) {
      for (const table of TABLE_NAMES) {
        for (const [id, value] of this.store.all(table))
          kvs.push(keyValue(etcdKey(table, id), value, this.store.version(table, id)));
      }
    }
    const count = String(kvs.length);
    return { header: this.#header(), kvs, more: false, count } as unknown as IRangeResponse;
  }

  #txn(manager: string, { compare, success, failure }: ITxnRequest): ITxnResponse {
    const writes = (success ?? []).map(({ request_put: put, request_delete_range: drop }): Write => {
      const path = parseEtcdKey(String(put?.key ?? drop?.key));
      if (path === undefined) throw new Error('a write outside of the tables');
      const value: unknown = put === undefined ? null : JSON.parse(String(put.value));
      return { ...path, value } as Write;
    });
    if (this.full && writes.some(({ value }) => value !== null))
      throw new GRPCResourceExhastedError('8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded');
    const fences = (compare ?? []).filter(({ target }) => target === 'Create');
    const versions = (compare ?? []).filter(({ target }) => target === 'Mod');
    const leader = this.store.leader;
    if (fences.some(({ create_revision }) => create_revision !== leader?.createRevision)) {
      this.refused += 1;
      return this.#refusal(failure ?? []);
    }
    if (!versions.every((one) => this.#holds(one))) {
      this.stale += 1;
      return this.#refusal(failure ?? []);
    }
    return this.#write(manager, writes, fences[0]?.create_revision);
  }

  #write(manager: string, writes: readonly Write[], fence: ICompare['create_revision']): ITxnResponse {
    const deleted = writes.map(({ table, key }) => this.store.version(table, key) > 0);
    // Deleting what is not there makes no revision.
    const effective = writes.filter(({ value }, index) => value !== null || deleted[index] === true);
    this.store.commitNow(effective);
    this.commits += 1;
    if (effective.length > 0)
      this.onWritten({ manager, writes: effective, fence: fence === undefined ? undefined : String(fence) });
    const responses = writes.map(({ value }, index) =>
      value === null
        ? { response_delete_range: { deleted: deleted[index] === true ? '1' : '0' } }
        : { response_put: {} },
    );
    return { header: this.#header(), succeeded: true, responses } as unknown as ITxnResponse;
  }

  #refusal(failure: NonNullable<ITxnRequest['failure']>): ITxnResponse {
    const { leader } = this.store;
    const responses = failure.map(({ request_range }) => ({
      response_range: {
        kvs:
          String(request_range?.key) === leader?.key
            ? [{ key: request_range?.key, create_revision: leader.createRevision }]
            : [],
      },
    }));
    return { header: this.#header(), succeeded: false, responses } as unknown as ITxnResponse;
  }

  #holds({ key, mod_revision }: ICompare): boolean {
    const path = parseEtcdKey(String(key));
    if (path === undefined) throw new StaleError(`a comparison outside of the tables: ${String(key)}`, false);
    return this.store.version(path.table, path.key) === Number(mod_revision);
  }

  #watch(owner: SimProcess, lagMs: number): WatchStream {
    const stream = new WatchStream(
      this.#time,
      owner,
      () => 1 + this.#random.below(lagMs),
      (startRevision) => {
        const oldest = this.#batches[0]?.revision ?? this.store.revision;
        if (startRevision < oldest) {
          this.resyncs += 1;
          return stream.compacted(oldest);
        }
        stream.created();
        if (this.away) return stream.lose();
        for (const batch of this.#batches) if (batch.revision >= startRevision) stream.send(batch);
        this.#watches.add(stream);
      },
      () => this.#watches.delete(stream),
    );
    return stream;
  }

  #header(): { revision: string; cluster_id: string } {
    return { revision: String(this.store.revision), cluster_id: '1' };
  }
}

function keyValue(key: string, value: unknown, version: number): IKeyValue {
  return {
    key: Buffer.from(key),
    value: Buffer.from(JSON.stringify(value)),
    mod_revision: String(version),
  } as IKeyValue;
}

class WatchStream extends EventEmitter {
  readonly #time: Timeline;
  readonly #owner: SimProcess;
  readonly #lag: () => number;
  readonly #begin: (startRevision: number) => void;
  readonly #over: () => void;
  #lastAt = 0;

  constructor(
    time: Timeline,
    owner: SimProcess,
    lag: () => number,
    begin: (startRevision: number) => void,
    over: () => void,
  ) {
    super();
    this.#time = time;
    this.#owner = owner;
    this.#lag = lag;
    this.#begin = begin;
    this.#over = over;
    // Node's emitter throws for an error that nobody hears, and a reader that has left hears none.
    this.on('error', () => undefined);
  }

  write(request: { create_request: { start_revision: number } }): void {
    this.#time.world(1, () => this.#begin(request.create_request.start_revision));
  }

  end(): void {
    this.#over();
  }

  cancel(): void {
    this.#over();
  }

  created(): void {
    this.#emit('data', { created: true, events: [] });
  }

  compacted(revision: number): void {
    this.#emit('data', { canceled: true, compact_revision: String(revision), events: [] });
  }

  lose(): void {
    this.#emit('error', new GRPCUnavailableError('14 UNAVAILABLE: the connection broke'));
  }

  send({ revision, changes }: Batch): void {
    const events = changes.map(({ table, key, after, version }) => ({
      type: after === undefined ? 'Delete' : 'Put',
      kv:
        after === undefined
          ? { key: Buffer.from(etcdKey(table, key)), mod_revision: String(version) }
          : keyValue(etcdKey(table, key), after, version),
    }));
    this.#emit('data', { events, header: { revision: String(revision) }, fragment: false });
  }

  #emit(event: string, data: unknown): void {
    const at = Math.max(this.#time.now + this.#lag(), this.#lastAt);
    this.#lastAt = at;
    this.#time.in(at - this.#time.now, () => this.emit(event, data), this.#owner);
  }
}
