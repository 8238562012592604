/**
 * What nodes say of their networks: repairs are kept in memory for the metrics, ports that others listen on in the node's
 * record, as what else it can be on, for everybody who looks at the node. A report that changes nothing writes nothing.
 */
import type { NetworkReport } from '../../shared/model/index.ts';
import type { NodeRecords } from './node-records.ts';
import type { NodeSession } from './node-session.ts';

export class NetworkReports {
  readonly #records: Pick<NodeRecords, 'networksAre'>;
  readonly #background: (work: Promise<void>) => void;
  /** Of the nodes that have a session here. */
  readonly repairs = new Map<string, NetworkReport['repairs']>();

  constructor(records: Pick<NodeRecords, 'networksAre'>, background: (work: Promise<void>) => void) {
    this.#records = records;
    this.#background = background;
  }

  take({ nodeId, signal }: NodeSession, { repairs, ...report }: NetworkReport): void {
    this.repairs.set(nodeId, repairs);
    this.#background(this.#records.networksAre(nodeId, report, signal));
  }
}
