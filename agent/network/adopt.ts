/** PURE. Which interfaces of this node's containers there are, as the sandboxes show them. */
import { address6 } from '../../shared/lib/network-ipv6.ts';
import type {
  AssignmentSet,
  NetworkAssignment,
  TaskAddress,
  TaskAssignment,
} from '../../shared/model/index.ts';
import { MAIN_TABLE } from './kernel-object.ts';
import { possible, type Self } from './local.ts';
import { portName } from './names.ts';

type Keys = { has(key: string): boolean };

export interface Adopted {
  /** Tasks with the addresses that have an interface; those that have none are left out. */
  readonly attached: ReadonlyMap<string, TaskAssignment>;
  /** Tasks that are to run and whose interfaces are not those of their addresses. */
  readonly due: ReadonlySet<string>;
}

/** `ended`: tasks that have lost their interfaces for good. `sandboxes` by VNI. */
export function adopt(
  set: AssignmentSet,
  before: ReadonlyMap<string, TaskAssignment>,
  ended: ReadonlySet<string>,
  sandboxes: ReadonlyMap<number, Keys>,
  self: Self,
): Adopted {
  const attached = new Map<string, TaskAssignment>();
  const due = new Set<string>();
  for (const task of new Map([...before, ...set.tasks]).values()) {
    if (ended.has(task.taskId)) continue;
    const port = portName(task.taskId);
    const sandboxOf = ({ network }: TaskAddress): Keys | undefined =>
      sandboxes.get(set.networks.get(network)?.vni ?? -1);
    const addresses = task.addresses.filter((one) => sandboxOf(one)?.has(`link ${port}`) === true);
    const isWhole = addresses.length === task.addresses.length;
    if (addresses.length > 0) attached.set(task.taskId, isWhole ? task : { ...task, addresses });
    if (!set.tasks.has(task.taskId) || task.desired !== 'running') continue;
    const wires = [...sandboxes.values()].filter((sandbox) => sandbox.has(`link ${port}`)).length;
    const routed = addresses.every((one) =>
      routesTo(set.networks.get(one.network), one.address, self).every(
        (dst) => sandboxOf(one)?.has(`route ${MAIN_TABLE} ${dst}`) === true,
      ),
    );
    if (!isWhole || !routed || wires !== addresses.length) due.add(task.taskId);
  }
  return { attached, due };
}

/** Ingress gets its IPv6 when it is there already. */
function routesTo(network: NetworkAssignment | undefined, address: string, self: Self): string[] {
  const own = network === undefined ? undefined : address6(possible(network, self), address);
  return [`${address}/32`, ...(own === undefined ? [] : [`${own}/128`])];
}
