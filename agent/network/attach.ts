/** The work of giving one container its interfaces: short, because a container's start waits for it. */
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import { containerObjects, type Interface, interfacesOf, outOf } from './container-scope.ts';
import { portObjects } from './local-objects.ts';
import { mtuOf, possible, type Self } from './local.ts';
import { addOps, type NetOp } from './diff.ts';
import { type KernelObject, type Scope, scopeOf } from './kernel-object.ts';
import { sandboxName } from './names.ts';
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

export function setUp(name: string): NetOp {
  return { op: 'link-set', name, up: true };
}

/** Of a task of this node, with what its networks have here. */
export function interfacesHere(
  task: TaskAssignment,
  set: Pick<AssignmentSet, 'networks'>,
  self: Self,
): Interface[] {
  return interfacesOf(task, set.networks).map((one) => ({ ...one, network: possible(one.network, self) }));
}

export function attachPlan(
  task: TaskAssignment,
  set: AssignmentSet,
  self: Self,
  containerNetns: string,
): AttachPlan {
  const interfaces = interfacesHere(task, set, self);
  const ports = portsOf(task, interfaces, self, containerNetns);
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
      { netns: containerNetns, ops: [...interfaces.map(({ dev }) => setUp(dev)), ...inside] },
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
): { readonly vni: number; readonly netns: string; readonly objects: KernelObject[] }[] {
  return interfaces.map(({ dev, address, network }) => {
    const mtu = mtuOf(network, self);
    return {
      vni: network.vni,
      netns: `${self.netnsDir}/${sandboxName(self.prefix, network.vni)}`,
      objects: portObjects(task, network, address, mtu, { name: dev, netns: containerNetns, mtu, up: false }),
    };
  });
}
