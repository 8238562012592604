/**
 * A manager that etcd does not hear of is gone for the others, and they judge its nodes. So that those are not called down while
 * they sit here, it sends them away, once: to another manager, or back here when that is cut off as well.
 */
import { delay } from '../../shared/lib/abort.ts';

const LOOK_MS = 250;
/** A candidacy that follows another at once is no loss. Shorter than the patience of those who judge. */
const LOST_MS = 1_500;

export interface IsolationOptions {
  /** Whether etcd hears of this manager: it stands for leader. */
  readonly stands: () => boolean;
  readonly hasOthers: () => boolean;
  readonly sendAway: () => void;
  /** Default: a steady clock. */
  readonly nowMs?: () => number;
}

export class Isolation {
  readonly #options: IsolationOptions;
  #stoodAtMs: number | undefined;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  /** One look. */
  look(): void {
    const { stands, hasOthers, sendAway, nowMs = () => performance.now() } = this.#options;
    if (stands()) {
      this.#stoodAtMs = nowMs();
      return;
    }
    if (this.#stoodAtMs === undefined || nowMs() - this.#stoodAtMs < LOST_MS) return;
    this.#stoodAtMs = undefined;
    if (hasOthers()) sendAway();
  }

  /** Looks until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.look();
      await delay(LOOK_MS, signal).catch(() => undefined);
    }
  }
}
