/** What concerns this node: itself, its tasks, and the networks that they are on. */
import { UnsupportedError } from '../../shared/errors/index.ts';
import { readBandwidth } from '../../shared/lib/bandwidth.ts';
import type { AssignmentSet, NetworkAssignment, TaskAssignment } from '../../shared/model/index.ts';
import { IPV6_LEAST_MTU } from '../../shared/lib/network-ipv6.ts';
import { NAME_SERVER, TUNNEL_OVERHEAD, WIRE_OVERHEAD } from './names.ts';

/** This node's ends of the encrypted ways. */
export interface Wire {
  /** UDP port of the key in slot 0; slot 1 has the next. The same on all nodes. */
  readonly port: number;
  /** The slot by which it sends. */
  readonly active: number;
  readonly keys: readonly {
    readonly slot: number;
    readonly publicKey: string;
    /** Path of the file with the private key. */
    readonly keyFile: string;
  }[];
}

/** What the node knows of itself. */
export interface Self {
  readonly nodeId: string;
  /** Tells this node's namespaces and tables from those of others on the machine. */
  readonly prefix: string;
  /** The most that the tunnels carry: MTU of overlay interfaces unless the network has a lower one. */
  readonly mtu: number;
  readonly vxlanPort: number;
  /** Another object whenever it has changed. Absent: the kernel has no WireGuard. */
  readonly wire?: Wire;
  /** Where named namespaces are, normally /run/netns. */
  readonly netnsDir: string;
  /** VLAN devices that this node's agent made. Absent: none. */
  readonly ownVlans?: ReadonlySet<string>;
  /** Names of all devices of the host, as they were seen last. */
  readonly hostLinks?: ReadonlySet<string>;
  /** The kernel can forward packets as they come in by a device (nft-fwd). */
  readonly fastPath?: boolean;
  /** The kernel has no IPv6. */
  readonly noIpv6?: true;
  /** Devices of the host that would stop taking router advertisements if it began to forward. Absent: none. */
  readonly advertised?: readonly string[];
  /** The /30 of each network's uplink, by network id. */
  readonly uplinkSlots: ReadonlyMap<string, number>;
  /** Tasks whose container has its interfaces, by task id. */
  readonly attached: ReadonlyMap<string, TaskAssignment>;
  /** Another number whenever `attached` or `ended` have changed. */
  readonly localRevision: number;
  /** Tasks that were detached and whose assignments have not gone yet. */
  readonly ended: ReadonlySet<string>;
  /** Networks whose sandboxes stay although nobody here is on them. */
  readonly lingering?: readonly NetworkAssignment[];
}

/** A network with everything on it, seen from this node. */
export interface NetworkView {
  readonly network: NetworkAssignment;
  readonly set: AssignmentSet;
  readonly self: Self;
  readonly netns: string;
  /** Absent for an internal network. */
  readonly uplinkSlot: number | undefined;
}

/** Of all interfaces on a network: what it asks for, but never more than the tunnel carries. */
export function mtuOf({ mtu, encrypted, local }: NetworkAssignment, self: Self): number {
  const tunnel = encrypted === true ? self.mtu - WIRE_OVERHEAD : self.mtu;
  const most = local === true ? self.mtu + TUNNEL_OVERHEAD : tunnel;
  return Math.min(mtu ?? most, most);
}

/**
 * False of a network that is of one node alone, and where what it carries must be encrypted and can not be: it then goes to
 * no other node at all.
 */
export function hasTunnel({ encrypted, local }: NetworkAssignment, self: Self): boolean {
  return local !== true && (encrypted !== true || self.wire !== undefined);
}

/** What is outside of Shoal has a way out of its own. */
export function hasUplink({ internal, ingress, outside }: NetworkAssignment): boolean {
  return outside === undefined && (!internal || ingress);
}

/** Where containers find the name server. */
export function nameServerOf({ gateway, outside }: NetworkAssignment): string {
  return outside === undefined ? gateway : NAME_SERVER;
}

/** False where the kernel has none, or the network's packets would be too small for it. */
export function hasIpv6(network: NetworkAssignment, self: Self): boolean {
  return self.noIpv6 !== true && mtuOf(network, self) >= IPV6_LEAST_MTU;
}

/**
 * The network as it is here: a node that can not have its IPv6 has it without. No task is put on it there
 * (requireTunnels), but for ingress, whose published ports then have IPv4 alone.
 */
export function possible(network: NetworkAssignment, self: Self): NetworkAssignment {
  if (network.subnet6 === undefined || hasIpv6(network, self)) return network;
  const { subnet6: _, ...rest } = network;
  return rest;
}

/** A task that is to have interfaces here. */
function isComing(task: TaskAssignment, self: Self): boolean {
  return !self.ended.has(task.taskId) && isWanted(task);
}

/** Its container is to run, or to be made ready for that. */
export function isWanted(task: TaskAssignment | undefined): boolean {
  return task?.desired === 'ready' || task?.desired === 'running';
}

/** Tasks of this node that take part in networks; those attached stay until they are detached. */
export function localTasks(set: AssignmentSet, self: Self): TaskAssignment[] {
  const tasks = new Map(self.attached);
  for (const task of set.tasks.values()) if (isComing(task, self)) tasks.set(task.taskId, task);
  return [...tasks.values()];
}

/** Networks that have a sandbox here: those that need one, and those whose sandboxes linger. */
export function localNetworks(set: AssignmentSet, self: Self): NetworkAssignment[] {
  return [...neededNetworks(set, self), ...(self.lingering ?? [])];
}

/** Networks that need a sandbox here: those with local tasks, and ingress while any port is published. */
export function neededNetworks(set: AssignmentSet, self: Self): NetworkAssignment[] {
  const wanted = new Set(localTasks(set, self).flatMap((task) => task.addresses.map((a) => a.network)));
  return [...set.networks.values()].filter(
    (network) => wanted.has(network.networkId) || (network.ingress && publishes(set, network.networkId)),
  );
}

/** Whether any service has ports there; mostly the first ones looked at tell. */
function publishes(set: AssignmentSet, networkId: string): boolean {
  for (const service of set.services.values())
    if (service.networkId === networkId && service.ports.length > 0) return true;
  return false;
}

/** Throws UnsupportedError when the task can not be as it asks on one of its networks here: encrypted, with IPv6, limited. */
export function requireTunnels(task: TaskAssignment, { networks }: AssignmentSet, self: Self): void {
  const plain = task.addresses
    .flatMap(({ network }) => networks.get(network) ?? [])
    .find((network) => network.encrypted === true && !hasTunnel(network, self));
  if (plain !== undefined)
    throw new UnsupportedError(`network ${plain.name} is encrypted, and this node's kernel has no WireGuard`);
  const without = task.addresses
    .flatMap(({ network }) => networks.get(network) ?? [])
    .find((network) => !network.ingress && network.subnet6 !== undefined && !hasIpv6(network, self));
  if (without === undefined) return requireOutside(task, networks);
  throw new UnsupportedError(
    self.noIpv6 === true
      ? `network ${without.name} has IPv6, and this node's kernel has none`
      : `network ${without.name} has IPv6, which needs an MTU of ${IPV6_LEAST_MTU}: its MTU on this node is ${mtuOf(without, self)}`,
  );
}

/** What a container gets is limited in the sandbox, where nothing of these networks passes. */
function requireOutside({ addresses, spec }: TaskAssignment, networks: AssignmentSet['networks']): void {
  if (readBandwidth(spec.container.labels).bandwidth.into === undefined) return;
  const other = addresses
    .map(({ network }) => networks.get(network))
    .find((one) => one?.outside !== undefined);
  if (other === undefined) return;
  throw new UnsupportedError(
    `network ${other.name} is not Shoal's own, and what a container gets from it can not be limited (label shoal.bandwidth-in)`,
  );
}
