/** The work of giving one container its interfaces: short, because a container's start waits for it. */
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import { containerObjects, type Interface, interfacesOf, type Joins, outOf } from './container-scope.ts';
import { goesFast, portObjects } from './local-objects.ts';
import { mtuOf, possible, type Self } from './local.ts';
import { addOps, type NetOp } from './diff.ts';
import { type KernelObject, type Scope, scopeOf } from './kernel-object.ts';
import { nameLink, sandboxName } from './names.ts';
import { outsideBatch, outsideUp } from './outside-links.ts';
import type { Batch } from './plan.ts';

export interface AttachPlan {
  readonly batches: readonly Batch[];
  /** What each sandbox then holds more, by VNI. */
  readonly added: ReadonlyMap<number, Scope>;
}

/** IPv6 is off on the container's devices but for those on networks that have it; localhost keeps it. */
const BEFORE = [
  { op: 'sysctl', path: 'ipv6/conf/default/disable_ipv6', value: '1' },
  { op: 'link-set', name: 'lo', up: true },
];

/** A container's device, up. */
export function setUp(one: Interface): NetOp[] {
  return one.network.outside === undefined ? [{ op: 'link-set', name: one.dev, up: true }] : outsideUp(one);
}

/** Of a task of this node, with what its networks have here. */
export function interfacesHere(
  task: TaskAssignment,
  set: Pick<AssignmentSet, 'networks'>,
  self: Self,
  joins?: Joins,
): Interface[] {
  return interfacesOf(task, set.networks, joins).map((one) => ({
    ...one,
    network: possible(one.network, self),
  }));
}

export function attachPlan(
  task: TaskAssignment,
  set: AssignmentSet,
  self: Self,
  containerNetns: string,
  joins?: Joins,
): AttachPlan {
  const interfaces = interfacesHere(task, set, self, joins);
  const fast = ({ network }: Interface): boolean => goesFast(task, network, set, self);
  const ports = portsOf(task, interfaces, self, containerNetns, fast);
  const inside = containerObjects(interfaces, outOf(task)).flatMap((object) =>
    addOps(object, undefined, containerNetns),
  );
  return {
    batches: [
      { netns: containerNetns, ops: BEFORE },
      ...ports.map(({ netns, objects }) => ({
        netns,
        ops: objects.flatMap((object) => addOps(object, undefined, netns)),
      })),
      outsideBatch(interfaces, self, containerNetns),
      { netns: containerNetns, ops: [...interfaces.flatMap(setUp), ...inside] },
    ],
    added: new Map(ports.map(({ vni, objects }) => [vni, scopeOf(objects)])),
  };
}

/** In the sandbox of each interface's network: its far end, and how to make both. */
export function portsOf(
  task: TaskAssignment,
  interfaces: readonly Interface[],
  self: Self,
  containerNetns: string,
  fast: (one: Interface) => boolean,
): { readonly vni: number; readonly netns: string; readonly objects: KernelObject[] }[] {
  return interfaces.map((one) => {
    const { dev, number, address, network, mac } = one;
    const mtu = mtuOf(network, self);
    // Where the container's eth is another network's, this one leads to the name server, and nothing else sets it up.
    const end =
      network.outside === undefined
        ? { name: dev, up: false as const, ...(mac === undefined ? {} : { mac }) }
        : { name: nameLink(number) };
    return {
      vni: network.vni,
      netns: `${self.netnsDir}/${sandboxName(self.prefix, network.vni)}`,
      objects: portObjects(task, network, address, mtu, fast(one), { ...end, netns: containerNetns, mtu }),
    };
  });
}
