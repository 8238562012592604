/**
 * What nodes say that their tasks use: the newest few reports, in memory only. A node is believed of its own tasks alone;
 * what its newest report leaves out is forgotten, and all of it when its session ends.
 */
import { type Logger, type TaskUsage, USAGE_EVERY_MS } from '../../shared/model/index.ts';
import type { UsageSample, UsageSource } from '../plan/view.ts';
import type { Store } from '../store/store.ts';

/** A node that reports more often than it should costs no more. */
const MAX_SAMPLES = 8;
const KEPT_MS = 6 * USAGE_EVERY_MS;
const NONE: readonly UsageSample[] = [];

type Samples = ReadonlyMap<string, readonly UsageSample[]>;

export class UsageIntake implements UsageSource {
  readonly #store: Pick<Store, 'get'>;
  readonly #logger: Logger;
  readonly #nodes = new Map<string, Samples>();
  /** How many tasks were reported on, by what was done with it. */
  readonly counts = { keep: 0, refuse: 0 };

  constructor(store: Pick<Store, 'get'>, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  take(nodeId: string, tasks: readonly TaskUsage[], nowMs: number): void {
    const before = this.#nodes.get(nodeId);
    const after = new Map<string, readonly UsageSample[]>();
    let refused = 0;
    for (const { taskId, nanoCpus, memoryBytes } of tasks) {
      if (this.#store.get('tasks', taskId)?.nodeId !== nodeId) {
        refused += 1;
        continue;
      }
      const recent = (before?.get(taskId) ?? NONE).filter(({ atMs }) => isRecent(atMs, nowMs));
      after.set(taskId, [...recent.slice(1 - MAX_SAMPLES), { atMs: nowMs, nanoCpus, memoryBytes }]);
    }
    this.counts.keep += after.size;
    this.counts.refuse += refused;
    if (after.size > 0) this.#nodes.set(nodeId, after);
    else this.#nodes.delete(nodeId);
    // One that was removed a moment ago is no news: the node does not know yet.
    if (refused > 0) this.#logger.debug({ nodeId, refused }, 'usage of tasks that are not the node’s');
  }

  forget(nodeId: string): void {
    this.#nodes.delete(nodeId);
  }

  samples(nodeId: string, taskId: string): readonly UsageSample[] {
    return this.#nodes.get(nodeId)?.get(taskId) ?? NONE;
  }

  /** Nodes of which anything is kept. */
  get size(): number {
    return this.#nodes.size;
  }
}

/** The clock may have been set back. */
function isRecent(atMs: number, nowMs: number): boolean {
  return nowMs - atMs >= 0 && nowMs - atMs < KEPT_MS;
}
