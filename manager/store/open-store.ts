/** Opens the store on an etcd that is, or will be, there. */
import type { Etcd3 } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { Committer, DEFAULT_LIMITS } from './committer.ts';
import type { CommitLimits } from './committer.ts';
import { createEtcdClient } from './etcd-client.ts';
import type { EtcdTls } from './etcd-client.ts';
import type { Migration } from './migrations.ts';
import { Mirror } from './mirror.ts';
import type { CommitOptions, Store, StoreObserver, TableName, Tables, Write } from './store.ts';
import { StoredSchema } from './stored-schema.ts';

export interface OpenStoreOptions {
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls;
  readonly limits?: Partial<CommitLimits>;
  /** Deadline of one call to etcd. Default 5 s. */
  readonly callTimeoutMs?: number;
  readonly observer?: StoreObserver;
  /** Default: those of this release. For tests. */
  readonly migrations?: readonly Migration[];
  readonly logger: Logger;
  /** Aborted: the store closes as if disposed. */
  readonly signal: AbortSignal;
}

export interface OpenStore extends Store, AsyncDisposable {
  /** For the election and the maintenance. */
  readonly client: Etcd3;
  /** The form that the data has in etcd. */
  readonly schema: StoredSchema;
  /** True while the mirror follows etcd; false while etcd is away, and reads are of what was last known. */
  readonly current: boolean;
}

/** How often somebody who waits for etcd is told so. */
const STILL_WAITING_MS = 5_000;

/**
 * Resolves once all tables are read; waits for etcd as long as that takes. Afterwards reads go on when etcd is away,
 * commits reject with UnavailableError, and both recover by themselves. Rejects when the signal aborts before, and
 * with InvalidError for endpoints or TLS files that can not be used.
 */
export async function openStore(options: OpenStoreOptions): Promise<OpenStore> {
  options.signal.throwIfAborted();
  return openStoreOn(createEtcdClient(options), options);
}

/** The same with a client that is there already; it is closed with the store. */
export async function openStoreOn(
  client: Etcd3,
  options: Omit<OpenStoreOptions, 'tls' | 'callTimeoutMs'>,
): Promise<OpenStore> {
  const { logger, endpoints } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const mirror = new Mirror(client, logger, new StoredSchema(options.migrations));
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const committer = new Committer(client, mirror, logger, limits, options.observer);
  const running = mirror.run(signal).finally(() => {
    committer.close();
    client.close();
  });
  const waiting = setInterval(() => logger.warn({ endpoints }, 'still waiting for etcd'), STILL_WAITING_MS);
  try {
    await mirror.waitFor(1, signal);
  } catch (error) {
    await running;
    options.signal.throwIfAborted();
    throw error;
  } finally {
    clearInterval(waiting);
  }
  return new EtcdStore(client, mirror, committer, async () => {
    stop.abort();
    await running;
  });
}

class EtcdStore implements OpenStore {
  readonly client: Etcd3;
  readonly #mirror: Mirror;
  readonly #committer: Committer;
  readonly #close: () => Promise<void>;

  constructor(client: Etcd3, mirror: Mirror, committer: Committer, close: () => Promise<void>) {
    this.client = client;
    this.#mirror = mirror;
    this.#committer = committer;
    this.#close = close;
  }

  get revision(): number {
    return this.#mirror.revision;
  }

  get schema(): StoredSchema {
    return this.#mirror.schema;
  }

  get current(): boolean {
    return this.#mirror.current;
  }

  get<T extends TableName>(table: T, key: string): Tables[T] | undefined {
    return this.#mirror.tables.all(table).get(key);
  }

  version(table: TableName, key: string): number {
    return this.#mirror.tables.version(table, key);
  }

  all<T extends TableName>(table: T): ReadonlyMap<string, Tables[T]> {
    return this.#mirror.tables.all(table);
  }

  tasksOfService(serviceId: string): ReadonlySet<string> {
    return this.#mirror.tables.tasksOfService(serviceId);
  }

  tasksOfNode(nodeId: string): ReadonlySet<string> {
    return this.#mirror.tables.tasksOfNode(nodeId);
  }

  commit(writes: readonly Write[], options: CommitOptions): Promise<number> {
    return this.#committer.commit(writes, options);
  }

  onChange(listener: Parameters<Store['onChange']>[0]): () => void {
    return this.#mirror.onChange(listener);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}
