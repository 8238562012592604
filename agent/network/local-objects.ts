/**
 * PURE. What this node's own containers add to the sandbox of a network. What one adds is the very same objects every time
 * it is asked for: of thousands of containers, only those that came or went are compared.
 */
import { readBandwidth } from '../../shared/lib/bandwidth.ts';
import { address6 } from '../../shared/lib/network-ipv6.ts';
import type { AssignmentSet, NetworkAssignment, TaskAssignment } from '../../shared/model/index.ts';
import { isGuarded } from './allow.ts';
import { portObjects6 } from './desired-sandbox6.ts';
import { fastPathObject, hasFastPath } from './fast-path.ts';
import { type Family, inFamily } from './family.ts';
import { type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import { localTasks, mtuOf, type NetworkView, type Self } from './local.ts';
import { portName } from './names.ts';
import { deviceSysctls, PORT_SYSCTLS, proxyDelay } from './sandbox-sysctls.ts';

/** What a task adds by this text, made when it is asked for the first time. */
type Made = Map<string, readonly KernelObject[]>;

const ports = new WeakMap<TaskAssignment, Made>();
const sources = new WeakMap<TaskAssignment, Made>();

/** Interfaces of the containers that have them. */
export function localObjects({ network, set, self }: NetworkView): KernelObject[] {
  const mtu = mtuOf(network, self);
  return [...self.attached.values()].flatMap((task) => {
    const fast = goesFast(task, network, set, self);
    return made(ports, task, `${network.networkId} ${mtu} ${network.subnet6 ?? ''} ${fast}`, () =>
      addressesOn(task, network.networkId).flatMap((address) =>
        portObjects(task, network, address, mtu, fast),
      ),
    );
  });
}

/** Whether a container's packets may pass by the rules of the sandbox, if it never had any other way. */
export function goesFast(
  task: TaskAssignment,
  network: NetworkAssignment,
  set: Pick<AssignmentSet, 'services'>,
  self: Self,
): boolean {
  return hasFastPath(network, self) && !isGuarded(task, network, set);
}

/** The sandbox's end of one interface of a container. `peer` says how to make it. */
export function portObjects(
  task: TaskAssignment,
  network: NetworkAssignment,
  address: string,
  mtu: number,
  fast: boolean,
  peer?: { name: string; netns: string; mtu: number; up?: false; mac?: string },
): KernelObject[] {
  const dev = portName(task.taskId);
  const { into } = readBandwidth(task.spec.container.labels).bandwidth;
  return [
    { type: 'veth', name: dev, mtu, ...(peer === undefined ? {} : { peer }) },
    { type: 'sysctl', path: proxyDelay(dev), value: '0' },
    ...deviceSysctls(network, dev, PORT_SYSCTLS),
    { type: 'route', dst: `${address}/32`, table: MAIN_TABLE, dev },
    ...portObjects6(task.taskId, address6(network, address)),
    ...(fast ? [fastPathObject(dev, network, address)] : []),
    // What the sandbox's end sends is what the container gets.
    ...(into === undefined ? [] : [{ type: 'rate' as const, dev, bytesPerSecond: into }]),
  ];
}

/** The addresses by which the containers here send, also of those that are to come. */
export function sourceObjects({ network, set, self }: NetworkView, family: Family): KernelObject[] {
  return localTasks(set, self).flatMap((task) => sourcesOf(task, network, family));
}

/** Those of one container. */
export function sourcesOf(
  task: TaskAssignment,
  network: NetworkAssignment,
  family: Family,
): readonly KernelObject[] {
  const { table, ip } = family;
  return made(sources, task, `${network.networkId} ${ip} ${network.subnet6 ?? ''}`, () =>
    inFamily(family, network, addressesOn(task, network.networkId)).flatMap((address): KernelObject[] => [
      { type: 'element', table, set: 'hairpin', key: `${address} . ${address}` },
      { type: 'element', table, set: 'sources', key: `${portName(task.taskId)} . ${address}` },
    ]),
  );
}

function addressesOn({ addresses }: TaskAssignment, networkId: string): string[] {
  return addresses.filter(({ network }) => network === networkId).map(({ address }) => address);
}

function made(
  all: WeakMap<TaskAssignment, Made>,
  task: TaskAssignment,
  text: string,
  make: () => readonly KernelObject[],
): readonly KernelObject[] {
  const known = all.get(task) ?? new Map<string, readonly KernelObject[]>();
  all.set(task, known);
  const objects = known.get(text) ?? make();
  known.set(text, objects);
  return objects;
}
