/** PURE. The interfaces of containers on networks that are not Shoal's own: how they are made, and the VLANs below them. */
import { parentOf } from '../../shared/lib/network-outside.ts';
import { prefixBits } from '../../shared/lib/network-subnets.ts';
import type { AssignmentSet, NetworkAssignment, TaskAssignment } from '../../shared/model/index.ts';
import type { Interface, Joined } from './container-scope.ts';
import type { NetOp } from './diff.ts';
import { type KernelObject, scopeOf } from './kernel-object.ts';
import type { NetworkView, Self } from './local.ts';
import { type NamespaceDump, observeLink } from './observe.ts';
import { hostTable } from './names.ts';
import type { Batch } from './plan.ts';

type Vlan = Extract<KernelObject, { type: 'vlan' }>;

/** Puts them into the container, from the host. */
export function outsideBatch(interfaces: readonly Interface[], self: Self, containerNetns: string): Batch {
  return { netns: null, ops: interfaces.flatMap((one) => linkOps(one, self, containerNetns)) };
}

function linkOps({ dev, network, joined, mac }: Interface, self: Self, into: string): NetOp[] {
  const { outside, mtu } = network;
  const asked = mac === undefined ? {} : { mac };
  if (outside === undefined) return [];
  if (outside.kind === 'plugin')
    return joined === undefined ? [] : [moveOp({ ...joined, ...asked }, into, dev)];
  const { kind, parent, mode } = outside;
  const more = { ...(mtu === undefined ? {} : { mtu }), ...asked };
  return [
    ...vlanOf(parent, self.prefix)
      .filter(() => self.hostLinks?.has(parent) !== true)
      .map(({ type, ...fields }) => ({ op: 'link-add', kind: type, ...fields })),
    { op: 'link-add', kind, name: dev, into, parent, mode, ...more },
  ];
}

function moveOp({ device, mac }: Joined, into: string, as: string): NetOp {
  return { op: 'link-move', name: device, into, as, ...(mac === undefined ? {} : { mac }) };
}

/** With its address, so that the LAN is told whose it is now: another container may have had it a moment ago. */
export function outsideUp({ dev, network, address }: Interface): NetOp[] {
  return [
    { op: 'sysctl', path: `ipv4/conf/${dev}/arp_notify`, value: '1' },
    { op: 'addr-add', dev, address: `${address}/${prefixBits(network, address)}` },
    { op: 'link-set', name: dev, up: true },
  ];
}

/** What tells the VLAN devices that this node's agent made. */
function vlanAlias(prefix: string): string {
  return hostTable(prefix);
}

/**
 * VLAN devices below the networks that are here. They are made with the first interface on them, so that one which can not
 * be is in nobody else's way; from then on they stay, and go with the network.
 */
export function vlanObjects(views: readonly NetworkView[], { prefix, ownVlans }: Self): KernelObject[] {
  return views.flatMap(({ network: { outside } }) =>
    outside?.kind === 'macvlan' && ownVlans?.has(outside.parent) === true
      ? vlanOf(outside.parent, prefix)
      : [],
  );
}

function vlanOf(parent: string, prefix: string): Vlan[] {
  const { device, vlan } = parentOf(parent);
  if (vlan === undefined) return [];
  return [{ type: 'vlan', name: parent, link: device, id: vlan, alias: vlanAlias(prefix) }];
}

/** VLAN devices that this node's agent made. */
export function ownVlans({ links }: NamespaceDump, prefix: string): Set<string> {
  const alias = vlanAlias(prefix);
  return new Set(links.filter((one) => one.kind === 'vlan' && one.alias === alias).map(({ name }) => name));
}

/** The same as they are. What hangs on them, addresses that the host has there, is the host's. */
export function observeVlans(dump: NamespaceDump, prefix: string): Map<string, KernelObject> {
  const own = ownVlans(dump, prefix);
  const links = dump.links
    .filter(({ name }) => own.has(name))
    .flatMap((link) => observeLink(link, dump.links));
  return scopeOf(links);
}

/** Devices of the host that macvlan can be on: of Ethernet, and neither Shoal's nor another container's. */
export function parentsIn({ links }: NamespaceDump): string[] {
  return links
    .filter(({ name, kind, mac, master }) => {
      if (name === 'lo' || mac === undefined || /^s[uw][0-9a-f]{6}/.test(name)) return false;
      return kind !== 'veth' || master === undefined;
    })
    .map(({ name }) => name)
    .toSorted();
}

/** Those of the task's networks that are not Shoal's own. */
export function outsideNetworks(
  { addresses }: TaskAssignment,
  { networks }: Pick<AssignmentSet, 'networks'>,
): NetworkAssignment[] {
  return addresses
    .flatMap(({ network }) => networks.get(network) ?? [])
    .filter((one) => one.outside !== undefined);
}

/** It has an interface on a network that is not Shoal's own. */
export function isOutside(task: TaskAssignment, set: Pick<AssignmentSet, 'networks'>): boolean {
  return outsideNetworks(task, set).length > 0;
}
