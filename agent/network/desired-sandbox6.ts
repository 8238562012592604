/**
 * What the sandbox of a network with IPv6 holds more. A container sends to its port's link-local address, the same on
 * each port, so nobody is asked for others' addresses; between nodes packets go to a link-local address a node.
 */
import { address6, gateway6, type HasIpv6 } from '../../shared/lib/network-ipv6.ts';
import type { EndpointAssignment, PeerAssignment } from '../../shared/model/index.ts';
import { hasTunnel, type NetworkView } from './local.ts';
import { type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import {
  CONTAINER_ADDRESS6,
  ownAddress6,
  PORT_ADDRESS6,
  portName,
  TUNNEL,
  tunnelAddress6,
  tunnelMac,
  UPLINK,
  uplinkAddresses6,
} from './names.ts';

export const IPV6_OFF: readonly (readonly [string, string])[] = [
  ['ipv6/conf/all/disable_ipv6', '1'],
  ['ipv6/conf/default/disable_ipv6', '1'],
];

/** Devices have the addresses that they are given, and no others. */
export const IPV6_ON: readonly (readonly [string, string])[] = [
  // First: of devices that are there already when it is turned on.
  ['ipv6/conf/all/addr_gen_mode', '1'],
  ['ipv6/conf/all/disable_ipv6', '0'],
  ['ipv6/conf/default/disable_ipv6', '0'],
  ['ipv6/conf/default/addr_gen_mode', '1'],
  ['ipv6/conf/default/accept_dad', '0'],
  ['ipv6/conf/all/accept_ra', '0'],
  ['ipv6/conf/default/accept_ra', '0'],
  ['ipv6/conf/all/accept_redirects', '0'],
  ['ipv6/conf/default/accept_redirects', '0'],
  ['ipv6/conf/all/forwarding', '1'],
  // Older kernels give each way in use an entry, and take 4096.
  ['ipv6/route/max_size', '1048576'],
];

/** What does not hang on one endpoint, but for rules. */
export function ipv6Base({ network, self }: NetworkView, me: PeerAssignment): KernelObject[] {
  const { subnet6 } = network;
  if (subnet6 === undefined) return [];
  const tunnel: KernelObject[] = [
    { type: 'address', dev: TUNNEL, address: `${tunnelAddress6(me.index)}/64` },
    { type: 'address', dev: TUNNEL, address: `${ownAddress6(me.index)}/128` },
  ];
  return [
    ...(hasTunnel(network, self) ? tunnel : []),
    // What containers are told comes from there.
    { type: 'address', dev: 'lo', address: `${gateway6(network)}/128` },
    // What has no better route is refused at once.
    { type: 'route', dst: subnet6, table: MAIN_TABLE, dev: 'lo' },
  ];
}

/** The way to the host and out: each end has a link-local address, and one that is sent from. */
export function uplinkObjects6({ subnet6 }: HasIpv6, slot: number): KernelObject[] {
  if (subnet6 === undefined) return [];
  return [
    { type: 'address', dev: UPLINK, address: `${CONTAINER_ADDRESS6}/64` },
    { type: 'address', dev: UPLINK, address: `${uplinkAddresses6(slot).sandbox}/128` },
    { type: 'route', dst: '::/0', table: MAIN_TABLE, dev: UPLINK, via: PORT_ADDRESS6 },
  ];
}

export function peerNeighbour6({ index }: PeerAssignment): KernelObject {
  return { type: 'neighbour', dev: TUNNEL, address: tunnelAddress6(index), mac: tunnelMac(index) };
}

/** The way to an endpoint on another node. */
export function endpointObjects6(
  { network }: NetworkView,
  me: PeerAssignment,
  peer: PeerAssignment,
  { address }: EndpointAssignment,
): KernelObject[] {
  const own = address6(network, address);
  if (own === undefined) return [];
  const via = tunnelAddress6(peer.index);
  return [
    peerNeighbour6(peer),
    {
      type: 'route',
      dst: `${own}/128`,
      table: MAIN_TABLE,
      dev: TUNNEL,
      via,
      src: ownAddress6(me.index),
    },
  ];
}

/** The sandbox's end of a container's interface. */
export function portObjects6(taskId: string, own: string | undefined): KernelObject[] {
  if (own === undefined) return [];
  const dev = portName(taskId);
  return [
    { type: 'address', dev, address: `${PORT_ADDRESS6}/64` },
    { type: 'route', dst: `${own}/128`, table: MAIN_TABLE, dev },
  ];
}
