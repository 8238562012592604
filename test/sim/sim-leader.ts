/**
 * A leader in simulated time: the real dirty set, plan and chunks, each commit at a time of its own, so that users, agents
 * and other leaders come in between. A deposed one goes on trying, as a stalled process would.
 */
import { MAX_CHUNK_OPERATIONS, packUnits, withVersions } from '../../manager/leader/chunks.ts';
import { DirtyServices } from '../../manager/leader/dirty.ts';
import { plan } from '../../manager/plan/plan.ts';
import { viewOf } from '../../manager/plan/view.ts';
import type { Unit } from '../../manager/plan/draft.ts';
import type { Fence } from '../../manager/store/store.ts';
import { StaleError } from '../../manager/store/store.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import type { MemoryStore } from './memory-store.ts';
import type { Timeline } from './timeline.ts';

export class SimLeader {
  readonly fence: Fence;
  /** Commits that the fence refused. */
  refused = 0;
  stale = 0;
  commits = 0;
  readonly #store: MemoryStore;
  readonly #time: Timeline;
  readonly #random: Prng;
  readonly #dirty: DirtyServices;
  #busy = false;
  #over = false;
  #turns = 0;

  constructor(store: MemoryStore, time: Timeline, random: Prng, fence: Fence) {
    this.#store = store;
    this.#time = time;
    this.#random = random;
    this.fence = fence;
    this.#dirty = new DirtyServices(store);
    store.onChange((changes) => {
      if (this.#over) return;
      this.#dirty.note(changes);
      this.#schedule();
    });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#busy || this.#over || this.#dirty.isEmpty) return;
    this.#busy = true;
    this.#time.in(1 + this.#random.below(5), () => this.#turn());
  }

  #turn(): void {
    const taken = this.#dirty.take();
    const view = viewOf(this.#store);
    if (view === undefined) throw new Error('no cluster');
    this.#turns += 1;
    const result = plan(view, {
      dirtyServices: taken.services,
      now: this.#time.now,
      seed: `${this.fence.createRevision}/${this.#turns}`,
      limit: 20,
    });
    this.#dirty.planned(taken, result);
    this.#commit(result.units, (ok) => {
      if (!ok) this.#dirty.add(taken.services);
      this.#dirty.add(result.unfinished);
      this.#busy = false;
      this.#setTimer();
      this.#schedule();
    });
  }

  #setTimer(): void {
    const next = this.#dirty.nextTimer();
    if (next === undefined) return;
    this.#time.in(next - this.#time.now, () => {
      this.#dirty.expire(this.#time.now);
      this.#schedule();
    });
  }

  /** One commit after the other, a little time between; the answer says whether all were accepted. */
  #commit(units: readonly Unit[], done: (ok: boolean) => void): void {
    const limit = this.#random.below(3) === 0 ? 8 : MAX_CHUNK_OPERATIONS;
    const base = packUnits(
      units.filter(({ stage }) => stage === 0),
      limit,
    );
    const chunks = [
      ...base,
      ...packUnits(
        units.filter(({ stage }) => stage === 1),
        limit,
      ),
    ];
    const versions = new Map<string, number>();
    let ok = true;
    const next = (index: number): void => {
      const chunk = chunks[index];
      if (chunk === undefined) return done(ok);
      const { writes, guards } = withVersions(chunk, versions);
      try {
        const revision = this.#store.commitNow(writes, { guards, fence: this.fence });
        this.commits += 1;
        if (index < base.length)
          for (const { table, key } of writes) versions.set(`${table}/${key}`, revision);
      } catch (error) {
        if (!(error instanceof StaleError)) throw error;
        ok = false;
        if (error.fenced) {
          this.refused += 1;
          this.#over = true;
          return;
        }
        this.stale += 1;
        if (index < base.length) return done(false);
      }
      this.#time.in(this.#random.below(4), () => next(index + 1));
    };
    this.#time.in(this.#random.below(20), () => next(0));
  }
}
