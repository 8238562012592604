/** What a manager is to know of this node's networks: what was repaired, which ports others listen on, which addresses it has, and which other networks it can be on. */
import type { Logger, NetworkReport, NodeDrivers, TakenPort } from '../../shared/model/index.ts';
import { MAX_ADDRESSES, MAX_DRIVERS, MAX_TAKEN_PORTS } from '../../shared/wire/node-schema.ts';
import { hostAddresses } from './host-addresses.ts';
import type { NamespaceDump } from './observe.ts';
import { repairsIn } from './plan-repairs.ts';
import type { Plan } from './plan.ts';

export class NetworkNews {
  readonly #logger: Logger;
  readonly #tell: (report: NetworkReport) => void;
  readonly #repairs = new Map<string, number>();
  /** As JSON. */
  #told = '';

  constructor(logger: Logger, tell: (report: NetworkReport) => void = () => undefined) {
    this.#logger = logger;
    this.#tell = tell;
  }

  /** Nothing was asked for anew: what the plan does is what somebody else undid. */
  repaired(plan: Plan): void {
    const repairs = repairsIn(plan);
    if (repairs.size === 0) return;
    for (const [kind, count] of repairs) this.#repairs.set(kind, (this.#repairs.get(kind) ?? 0) + count);
    this.#logger.warn(Object.fromEntries(repairs), 'networks were not as they should be: repaired');
  }

  /** Nothing happens when that is as it was. */
  tell(taken: readonly TakenPort[], host: Pick<NamespaceDump, 'addresses'>, drivers?: NodeDrivers): void {
    const addresses = hostAddresses(host, MAX_ADDRESSES);
    const report = {
      repairs: Object.fromEntries(this.#repairs),
      takenPorts: taken.slice(0, MAX_TAKEN_PORTS),
      ...(addresses === undefined ? {} : { addresses }),
      ...(drivers === undefined ? {} : { drivers: limited(drivers) }),
    };
    const text = JSON.stringify(report);
    if (text === this.#told) return;
    this.#told = text;
    this.#tell(report);
  }
}

function limited({ macvlanParents, plugins }: NodeDrivers): NodeDrivers {
  return {
    ...(macvlanParents === undefined ? {} : { macvlanParents: macvlanParents.slice(0, MAX_DRIVERS) }),
    ...(plugins === undefined ? {} : { plugins: plugins.slice(0, MAX_DRIVERS) }),
  };
}
