/**
 * The leader's loop: what is dirty is planned, what is planned is committed under the fence, and the changes that follow
 * make things dirty again until the cluster is as desired. It decides nothing itself; plan() does.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isAbort } from '../../shared/lib/abort.ts';
import { delay } from '../../shared/lib/abort.ts';
import { backoffMs } from '../../shared/lib/backoff.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import type { Node } from '../../shared/model/index.ts';
import { newKeysOf, newKeysOfNetwork } from '../../shared/wire/spec-keys.ts';
import type { Plan } from '../plan/plan.ts';
import { plan } from '../plan/plan.ts';
import { earlier } from '../plan/reconcile/actions.ts';
import { NodeLoads } from '../plan/schedule/node-loads.ts';
import type { UsageSource, View } from '../plan/view.ts';
import { viewOf } from '../plan/view.ts';
import type { Fence, Store } from '../store/store.ts';
import { StaleError } from '../store/store.ts';
import type { Chunk } from './chunks.ts';
import { MAX_CHUNK_OPERATIONS, packUnits, withVersions } from './chunks.ts';
import type { Taken } from './dirty.ts';
import { DirtyServices, NOTHING_PLANNED } from './dirty.ts';
import { WakeUp } from './wake-up.ts';

export interface LeaderOptions {
  readonly store: Store;
  /** Of the election that was won: every commit compares it. */
  readonly fence: Fence;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;
  /** Slots acted upon in one turn; default 1,000. Bounds how long the event loop is held. */
  readonly slotsPerTurn?: number;
  readonly observer?: LeaderObserver;
  /** What tasks use. Absent: nothing is scaled by it. */
  readonly usage?: UsageSource;
  /** Default 120: any etcd takes it. */
  readonly operationsPerCommit?: number;
}

export interface LeaderObserver {
  /** One plan was made, in so many seconds; it has so many writes. */
  planned(seconds: number, writes: number): void;
  /** A plan could not be written: something had changed, or etcd did not take it. */
  retried(reason: 'conflict' | 'failed'): void;
}

const SLOTS_PER_TURN = 1_000;
/**
 * After plans that looked at so many tasks, what can wait is left alone for a millisecond each. A look at a task takes 1
 * to 2 microseconds: however many report at a time, planning takes a part of the time only, and a cluster of a few
 * hundred tasks waits for nothing.
 */
const LOOKS_PER_REST_MS = 150;
const BACKOFF_BASE_MS = 5;
const BACKOFF_MAX_MS = 1_000;
/** A service that plan() can not handle is tried again after this long. */
const POISONED_RETRY_MS = 30_000;

/** After a restart the first of the nodes that come back would be given everything: the others have so long, too. */
const RETURN_MS = 1_500;

/** Of the one record that is written for its revision's sake: whose it was last. */
const LEADER_KEY = 'leader';

type Outcome = 'done' | 'retry' | 'deposed';

/** Leads until the signal aborts or the fence fails, whichever is first; then resolves. Other failures are retried. */
export async function lead(options: LeaderOptions, signal: AbortSignal): Promise<void> {
  const leader = new Leader(options);
  try {
    await leader.run(signal);
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) throw error;
  }
}

class Leader {
  readonly #options: LeaderOptions;
  readonly #dirty: DirtyServices;
  readonly #wakeUp = new WakeUp();
  readonly #loads = new NodeLoads();
  #failures = 0;
  /** Until then, what can wait does. */
  #restUntilMs = 0;
  /** Tasks that were looked at since all that was dirty had been planned to its end. */
  #looked = 0;
  /** Something may have been written that the mirror does not show yet. */
  #behind = true;
  /** Until then, nothing is planned while nodes are on their way back. */
  #returnUntilMs = 0;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#dirty = new DirtyServices(options.store);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { store, logger, clock } = this.#options;
    this.#returnUntilMs = clock.now() + RETURN_MS;
    const undo = store.onChange((changes) => {
      this.#dirty.note(changes);
      const view = this.#view();
      if (view !== undefined) this.#loads.note(changes, view);
      if (!this.#dirty.isEmpty) this.#wakeUp.now();
    });
    try {
      logger.info('leading');
      while (!signal.aborted) {
        await this.#somethingToDo(signal);
        await this.#nodesReturn(signal);
        // What arrives in the same breath is planned together.
        await nextTurn(undefined, { signal });
        if (this.#behind && (await this.#catchUp(signal)) === 'deposed') return;
        if ((await this.#turn(signal)) === 'deposed') return;
      }
    } finally {
      undo();
    }
  }

  async #somethingToDo(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      this.#dirty.expire(clock.now());
      if (this.#dirty.isUrgent || (!this.#dirty.isEmpty && this.#hasRested)) return;
      const next = earlier(this.#dirty.nextTimer(), this.#dirty.isEmpty ? undefined : this.#restUntilMs);
      await this.#wakeUp.wait(next === undefined ? undefined : Math.max(0, next - clock.now()), signal);
    }
  }

  async #nodesReturn(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    for (;;) {
      const leftMs = this.#returnUntilMs - clock.now();
      const isAwaited = ({ status }: Node): boolean => status === 'unknown';
      if (leftMs <= 0 || ![...store.all('nodes').values()].some(isAwaited)) return;
      await this.#wakeUp.wait(leftMs, signal);
    }
  }

  /**
   * Until the mirror contains all that was written before. What the last leader wrote may still be on its way here, and so
   * may what this one wrote when etcd's answer was lost: planned without it, the same slots would be filled a second time,
   * with the same addresses, and no guard would see it. A commit resolves when the mirror has come to its revision.
   */
  async #catchUp(signal: AbortSignal): Promise<Outcome> {
    const { store, fence } = this.#options;
    for (;;) {
      try {
        await store.commit([{ table: 'names', key: LEADER_KEY, value: { id: fence.createRevision } }], {
          fence,
          signal,
        });
        this.#behind = false;
        return 'done';
      } catch (error) {
        if (this.#outcomeOf(error) === 'deposed') return 'deposed';
        await this.#backOff(signal);
      }
    }
  }

  async #backOff(signal: AbortSignal): Promise<void> {
    await delay(backoffMs(this.#failures, BACKOFF_BASE_MS, BACKOFF_MAX_MS, Math.random()), signal);
    this.#failures += 1;
  }

  async #turn(signal: AbortSignal): Promise<Outcome> {
    const taken = this.#dirty.take(this.#hasRested ? 'everything' : 'urgent');
    const view = this.#view();
    // Without a cluster record there is nothing to decide; its arrival makes everything dirty.
    if (view === undefined) return 'done';
    const unfinished = new Set<string>();
    let outcome: Outcome = 'done';
    for (const part of this.#plans(view, taken)) {
      outcome = await this.#commit(part, signal);
      for (const id of part.unfinished) unfinished.add(id);
      if (outcome !== 'done') break;
    }
    if (outcome === 'retry') {
      this.#dirty.add(taken.services);
      await this.#backOff(signal);
    } else this.#failures = 0;
    this.#dirty.add(unfinished);
    return outcome;
  }

  get #hasRested(): boolean {
    return this.#options.clock.now() >= this.#restUntilMs;
  }

  #view(): View | undefined {
    const { store, usage } = this.#options;
    const measured = usage === undefined ? {} : { usage, recommended: this.#dirty.recommended };
    return viewOf(store, { loads: this.#loads, newKeysOf, newKeysOfNetwork, ...measured });
  }

  /** One plan; or, if a service makes plan() throw, one for each, so that it holds up no other. */
  *#plans(view: View, taken: Taken): Generator<Plan> {
    try {
      yield this.#plan(view, taken);
      return;
    } catch (error) {
      this.#options.logger.error({ error }, 'planning failed; trying service by service');
    }
    const ids = taken.services === 'all' ? [...view.services.keys()] : [...taken.services];
    for (const id of ids) {
      const single: Taken = { services: new Set([id]) };
      try {
        yield this.#plan(view, single);
      } catch (error) {
        this.#options.logger.error({ error, serviceId: id }, 'this service can not be planned');
        const again = new Map([[id, this.#options.clock.now() + POISONED_RETRY_MS]]);
        this.#dirty.planned(single, { ...NOTHING_PLANNED, timers: again });
      }
    }
  }

  #plan(view: View, taken: Taken): Plan {
    const { clock, slotsPerTurn, observer } = this.#options;
    const startedMs = performance.now();
    const result = plan(view, {
      dirtyServices: taken.services,
      now: clock.now(),
      seed: randomUUID(),
      limit: slotsPerTurn ?? SLOTS_PER_TURN,
    });
    this.#dirty.planned(taken, result);
    this.#looked += result.looked;
    this.#restUntilMs = clock.now() + Math.floor(this.#looked / LOOKS_PER_REST_MS);
    if (!result.more) this.#looked = 0;
    observer?.planned((performance.now() - startedMs) / 1000, result.writes.length);
    return result;
  }

  async #commit({ units }: Plan, signal: AbortSignal): Promise<Outcome> {
    if (units.length === 0) return 'done';
    const limit = this.#options.operationsPerCommit ?? MAX_CHUNK_OPERATIONS;
    const bases = packUnits(
      units.filter(({ stage }) => stage === 0),
      limit,
    );
    const slots = packUnits(
      units.filter(({ stage }) => stage === 1),
      limit,
    );
    const versions = new Map<string, number>();
    try {
      for (const chunk of bases) {
        const revision = await this.#commitChunk(withVersions(chunk, versions), signal);
        for (const { table, key } of chunk.writes) versions.set(`${table}/${key}`, revision);
      }
    } catch (error) {
      return this.#outcomeOf(error);
    }
    // Slots do not depend on one another: the store groups what is waiting.
    const results = await Promise.allSettled(
      slots.map((chunk) => this.#commitChunk(withVersions(chunk, versions), signal)),
    );
    const outcomes = results.map(
      (result): Outcome => (result.status === 'fulfilled' ? 'done' : this.#outcomeOf(result.reason)),
    );
    if (outcomes.includes('deposed')) return 'deposed';
    return outcomes.includes('retry') ? 'retry' : 'done';
  }

  #commitChunk({ writes, guards }: Chunk, signal: AbortSignal): Promise<number> {
    const { store, fence } = this.#options;
    return store.commit(writes, { guards, fence, signal });
  }

  /** Rethrows an abort; everything else is either the end of this leadership or worth another try. */
  #outcomeOf(error: unknown): Outcome {
    if (isAbort(error)) throw error;
    const { logger, observer } = this.#options;
    if (!(error instanceof StaleError)) {
      // It may have been written all the same.
      this.#behind = true;
      observer?.retried('failed');
      logger.warn({ error }, 'a plan could not be written; trying again');
      return 'retry';
    }
    if (!error.fenced) {
      observer?.retried('conflict');
      logger.debug({ reason: error.message }, 'the cluster changed meanwhile; planning again');
      return 'retry';
    }
    logger.info('another manager leads now');
    return 'deposed';
  }
}
