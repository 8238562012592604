/** Faults that are planted to see that the simulation finds them. A world has none, unless a test asks for one. */
import type { StepExecutor } from '../../agent/worker/runner.ts';
import type { Store } from '../../manager/store/store.ts';

/** Each wraps what a process is given; what is absent is as in the product. */
export interface Faults {
  readonly leaderStore?: (store: Store) => Store;
  readonly dispatcherStore?: (store: Store) => Store;
  readonly executor?: (executor: StepExecutor) => StepExecutor;
  readonly withdrawTimeoutMs?: number;
  /** Agents are silent while they have nothing to say. */
  readonly noBeats?: boolean;
  /** Agents do not report what tasks use. */
  readonly noUsage?: boolean;
}
