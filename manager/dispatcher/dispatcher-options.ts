import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger, TaskUsage } from '../../shared/model/index.ts';
import type { Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import type { NodeRecords } from './node-records.ts';
import type { NodeSession } from './node-session.ts';
import type { Refusals } from './refusals.ts';

export interface DispatcherOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly records: NodeRecords;
  readonly managerId: string;
  readonly nodeDownAfterMs: number;
  /** How long a task that is to stop waits for the confirmations of other nodes. */
  readonly withdrawTimeoutMs: number;
  /** A steady clock in milliseconds: time of day may jump. */
  readonly steadyMs: () => number;
  /** Time of day: what is written down. */
  readonly clock: Clock;
  /** Asks the other managers whether their nodes lead nothing to these tasks any more; returns who will confirm, and how. */
  readonly askOthers?: (
    taskIds: readonly string[],
    revision: number,
  ) => readonly { managerId: string; seq: number }[];
  /** What a node of this manager has reported; nothing when its session is over. */
  readonly onUsage?: (nodeId: string, tasks: readonly TaskUsage[]) => void;
  /** What was refused on the port. Default: of its own. */
  readonly refusals?: Refusals;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** A session has opened. */
  readonly onOpened?: (session: NodeSession) => void;
}
