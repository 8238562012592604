/** What a dispatcher has done since it started, in plain numbers: counting costs nothing, and who wants them reads them. */
import type { Refused } from './refusals.ts';
import type { NetworkReport } from '../../shared/model/index.ts';
import type { Verdict as DownVerdict } from './failure-detector.ts';
import type { Verdict as ReportVerdict } from './status-intake.ts';

/** Of sessions. */
export interface SessionCounts {
  readonly sessions: number;
  readonly assignments: Readonly<Record<'full' | 'change', number>>;
  readonly statuses: Readonly<Record<ReportVerdict, number>>;
  readonly usages: Readonly<Record<'keep' | 'refuse', number>>;
  /** Of networks, by the nodes that have a session here. */
  readonly repairs: ReadonlyMap<string, NetworkReport['repairs']>;
  readonly nodesDown: Readonly<Record<DownVerdict['reason'], number>>;
}

export interface DispatcherCounts extends SessionCounts {
  /** `expired`: sessions that were ended because renewing had failed until then. */
  readonly certificates: Readonly<Record<'renewed' | 'failed' | 'expired', number>>;
  /** Connections to the port for nodes that have not shown who they are. */
  readonly strangers: number;
  readonly refused: Readonly<Record<Refused, number>>;
}
