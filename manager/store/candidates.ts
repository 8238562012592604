/** Who stands for election, in order: the keys of the election as one watch keeps them. The first one leads. */
import type { Etcd3 } from 'etcd3';
import type { Logger } from '../../shared/model/options.ts';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import { ELECTION_PREFIX } from './keys.ts';
import { rangePages } from './range-pages.ts';
import { watchOnce } from './watch-stream.ts';

export interface Candidate {
  readonly key: string;
  /** etcd's, as it writes it: what a Fence compares. */
  readonly createRevision: string;
  /** Who: the candidate's own name. */
  readonly id: string;
}

const BACKOFF_BASE_MS = 50;
const BACKOFF_MAX_MS = 1_000;

export class Candidates {
  readonly #client: Etcd3;
  readonly #logger: Logger;
  readonly #listeners = new Set<() => void>();
  #byKey = new Map<string, Candidate>();
  #revision = 0;

  constructor(client: Etcd3, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /** The revision up to which this is known. */
  get revision(): number {
    return this.#revision;
  }

  get leader(): Candidate | undefined {
    let first: Candidate | undefined;
    for (const candidate of this.#byKey.values()) {
      if (first === undefined || Number(candidate.createRevision) < Number(first.createRevision))
        first = candidate;
    }
    return first;
  }

  /** Names of all that stand. */
  get ids(): ReadonlySet<string> {
    return new Set([...this.#byKey.values()].map((candidate) => candidate.id));
  }

  get(key: string): Candidate | undefined {
    return this.#byKey.get(key);
  }

  /** Called after every change. Returns the undo. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Keeps up until the signal aborts. Never rejects. The few keys are read anew before each watch. */
  async run(signal: AbortSignal): Promise<void> {
    let attempt = 0;
    while (!signal.aborted) {
      try {
        await this.#read(signal);
        attempt = 0;
        await watchOnce(
          {
            client: this.#client,
            prefix: ELECTION_PREFIX,
            startRevision: this.#revision + 1,
            onEvents: (events, revision) => {
              for (const { type, kv } of events) {
                if (type === 'Put') this.#byKey.set(kv.key.toString(), candidateOf(kv));
                else this.#byKey.delete(kv.key.toString());
              }
              this.#tell(revision);
            },
          },
          signal,
        );
      } catch (error) {
        if (signal.aborted) return;
        this.#logger.debug({ error: describeError(error) }, 'the election can not be read from etcd');
        attempt += 1;
      }
      const waitMs = backoffMs(attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random());
      await delay(waitMs, signal).catch(() => undefined);
    }
  }

  async #read(signal: AbortSignal): Promise<void> {
    const read = new Map<string, Candidate>();
    let revision = 0;
    for await (const page of rangePages(this.#client, ELECTION_PREFIX, signal)) {
      revision = page.revision;
      for (const kv of page.kvs) read.set(kv.key.toString(), candidateOf(kv));
    }
    this.#byKey = read;
    this.#tell(revision);
  }

  #tell(revision: number): void {
    this.#revision = revision;
    for (const listener of [...this.#listeners]) listener();
  }
}

function candidateOf(kv: { key: Buffer; create_revision: string; value: Buffer }): Candidate {
  return { key: kv.key.toString(), createRevision: kv.create_revision, id: kv.value.toString() };
}
