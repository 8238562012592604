/**
 * The tables of etcd in memory. Loaded by ranges at one revision, then kept by one watch from the next. When the watch
 * is lost it is resumed where it was; when etcd has compacted what came between (or is not the etcd that it was), the
 * ranges are read again and the difference is told as changes. So listeners see every object from one state to
 * another, never a gap, though perhaps not every state between.
 */
import type { Etcd3, IEvent, IKeyValue } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { parseEtcdKey, TABLES_PREFIX } from './keys.ts';
import { MirrorTables } from './mirror-tables.ts';
import { rangePages } from './range-pages.ts';
import { SCHEMA_KEY, StoredSchema } from './stored-schema.ts';
import { TABLE_NAMES } from './store.ts';
import type { Change, TableName } from './store.ts';
import { watchOnce } from './watch-stream.ts';

const BACKOFF_BASE_MS = 50;
const BACKOFF_MAX_MS = 1_000;

export type ChangeListener = (changes: readonly Change[]) => void;

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

type Loaded = Map<TableName, Map<string, IKeyValue>>;

export class Mirror {
  readonly tables = new MirrorTables();
  /** The form that the data has in etcd. */
  readonly schema: StoredSchema;
  readonly #client: Etcd3;
  readonly #logger: Logger;
  readonly #listeners = new Set<ChangeListener>();
  #waiters: Waiter[] = [];
  #revision = 0;
  #clusterId = '';
  #current = false;
  #restartWatch = new AbortController();
  /** When the watch was begun, or last said something. */
  #heardAtMs = 0;

  constructor(client: Etcd3, logger: Logger, schema = new StoredSchema()) {
    this.schema = schema;
    this.#client = client;
    this.#logger = logger;
  }

  /** Newest etcd revision that the tables contain; 0 before the first load. */
  get revision(): number {
    return this.#revision;
  }

  /** True while the watch is open: what is read here is at most a moment old. */
  get current(): boolean {
    return this.#current;
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves once the tables contain `revision`; rejects with UnavailableError when the signal aborts before. */
  waitFor(revision: number, signal: AbortSignal): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        const text = `revision ${revision} has not reached this manager's copy, which is at ${this.#revision}`;
        reject(new UnavailableError(text, { cause: signal.reason }));
      };
      const settled = (): void => signal.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        revision,
        resolve: () => resolve(settled()),
        reject: (error) => reject((settled(), error)),
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /**
   * Drops the watch and opens another: for a caller who knows that events are overdue. One that has said something, or was
   * begun, within the last `silentMs` stays: else many callers on a slow machine would never let one come to its first event.
   */
  restartWatch(silentMs: number): void {
    if (performance.now() - this.#heardAtMs >= silentMs) this.#restartWatch.abort();
  }

  /** Keeps the tables up to date until the signal aborts; who waits then is rejected. Never rejects itself. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#follow(signal);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(new UnavailableError('the store is closed'));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let attempt = 0;
    while (!signal.aborted) {
      const before = this.#revision;
      let opened = false;
      try {
        await this.#catchUp(signal);
        opened = await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#logger.warn({ error: describeError(error), attempt }, 'the store can not be read from etcd');
      }
      attempt = opened || this.#revision > before ? 0 : attempt + 1;
      const waitMs = backoffMs(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random());
      await delay(waitMs, signal).catch(() => undefined);
    }
  }

  /** Before a watch: loads when there is nothing yet, or when this is not the history that was read from. */
  async #catchUp(signal: AbortSignal): Promise<void> {
    if (this.#revision === 0) return this.#load(signal);
    const { header } = await this.#client.kv.range({ key: Buffer.from(TABLES_PREFIX), limit: 1 });
    const rewound = Number(header.revision) < this.#revision || header.cluster_id !== this.#clusterId;
    if (rewound) {
      this.#logger.warn(
        { revision: this.#revision, etcd: header },
        'etcd is not the one it was: reading all again',
      );
      await this.#load(signal);
    }
  }

  /** True when the watch was opened at all. */
  async #watch(signal: AbortSignal): Promise<boolean> {
    this.#restartWatch = new AbortController();
    this.#heardAtMs = performance.now();
    let opened = false;
    const end = await watchOnce(
      {
        client: this.#client,
        prefix: TABLES_PREFIX,
        startRevision: this.#revision + 1,
        onOpen: () => {
          opened = true;
          this.#current = true;
        },
        onEvents: (events, revision) => this.#applyEvents(events, revision),
      },
      AbortSignal.any([signal, this.#restartWatch.signal]),
    );
    this.#current = false;
    if (end.kind === 'compacted') {
      this.#logger.info(
        { revision: this.#revision, ...end },
        'etcd compacted what was missed: reading all again',
      );
      await this.#load(signal);
    } else if (end.kind === 'lost') {
      this.#logger.warn({ error: describeError(end.error) }, 'the watch on etcd was lost');
    }
    return opened;
  }

  #applyEvents(events: readonly IEvent[], revision: number): void {
    this.#heardAtMs = performance.now();
    const changes: Change[] = [];
    for (const event of events) {
      // Of a watch that overlaps what is known already, nothing may be applied twice.
      if (Number(event.kv.mod_revision) <= this.#revision) continue;
      const name = event.kv.key.toString();
      if (name === SCHEMA_KEY) this.schema.see(event.type === 'Put' ? event.kv : undefined);
      const path = parseEtcdKey(name);
      if (path === undefined) continue;
      const { table, key } = path;
      const value = event.type === 'Put' ? this.#parse(event.kv, table, key) : undefined;
      const change = this.tables.apply(table, key, value, Number(event.kv.mod_revision));
      if (change.before !== undefined || change.after !== undefined) changes.push(change);
    }
    this.#advance(Math.max(revision, this.#revision), changes);
  }

  async #load(signal: AbortSignal): Promise<void> {
    const loaded: Loaded = new Map(TABLE_NAMES.map((name) => [name, new Map<string, IKeyValue>()]));
    let revision = 0;
    let clusterId = '';
    let count = 0;
    let schema: IKeyValue | undefined;
    for await (const page of rangePages(this.#client, TABLES_PREFIX, signal)) {
      ({ revision, clusterId } = page);
      for (const kv of page.kvs) {
        const name = kv.key.toString();
        if (name === SCHEMA_KEY) schema = kv;
        const path = parseEtcdKey(name);
        if (path !== undefined) loaded.get(path.table)?.set(path.key, kv);
      }
      count += page.kvs.length;
      this.#logger.debug({ count, total: page.total, revision }, 'reading the store');
    }
    this.schema.see(schema);
    const sameHistory = clusterId === this.#clusterId && revision >= this.#revision;
    const changes = this.#replace(loaded, revision, sameHistory);
    this.#clusterId = clusterId;
    this.#logger.info({ revision, count, changes: changes.length }, 'read the store');
    this.#advance(revision, changes);
  }

  /** Makes the tables equal to what was read and returns the difference. */
  #replace(loaded: Loaded, revision: number, sameHistory: boolean): Change[] {
    const changes: Change[] = [];
    for (const table of TABLE_NAMES) {
      const fresh = loaded.get(table) ?? new Map<string, IKeyValue>();
      for (const key of [...this.tables.versions(table).keys()]) {
        if (!fresh.has(key)) changes.push(this.tables.apply(table, key, undefined, revision));
      }
      for (const [key, kv] of fresh) {
        const version = Number(kv.mod_revision);
        if (sameHistory && this.tables.version(table, key) === version) continue;
        const change = this.tables.apply(table, key, this.#parse(kv, table, key), version);
        if (change.before !== undefined || change.after !== undefined) changes.push(change);
      }
    }
    return changes;
  }

  /** Undefined for a value that is no JSON: somebody else wrote it, and it must not stop the rest. */
  #parse(kv: IKeyValue, table: TableName, key: string): unknown {
    try {
      const value: unknown = JSON.parse(kv.value.toString());
      if (typeof value === 'object' && value !== null) return this.schema.decode(table, key, value);
      this.#logger.error({ key: kv.key.toString() }, 'this key in etcd holds no object and is ignored');
    } catch (error) {
      this.#logger.error(
        { key: kv.key.toString(), error: describeError(error) },
        'this key in etcd is no JSON',
      );
    }
    return undefined;
  }

  #advance(revision: number, changes: readonly Change[]): void {
    this.#revision = revision;
    if (changes.length > 0) {
      for (const listener of [...this.#listeners]) this.#tell(listener, changes);
    }
    const ready = this.#waiters.filter((waiter) => waiter.revision <= revision);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.revision > revision);
    for (const waiter of ready) waiter.resolve();
  }

  #tell(listener: ChangeListener, changes: readonly Change[]): void {
    try {
      listener(changes);
    } catch (error) {
      // One listener's fault must not keep the others, or the mirror, from the changes.
      this.#logger.error({ err: error }, 'a listener of the store failed');
    }
  }
}
