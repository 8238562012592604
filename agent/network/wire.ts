/**
 * PURE. The encrypted ways between nodes, in the host's own namespace: a WireGuard device for each key of this node, the
 * other nodes' keys on it, and a route. Each key of a node has a tunnel address of its own, so that a new key is known
 * everywhere before anything is sent to it: no packet is lost when keys are changed. What is encrypted is sent to tunnel
 * addresses and to a port of its own, which is closed to everything that does not come or go through these devices.
 */
import { formatAddress, parseAddress } from '../../shared/lib/cidr.ts';
import type { AssignmentSet, PeerAssignment } from '../../shared/model/index.ts';
import { chain, type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import type { NetworkView, Self } from './local.ts';
import { encryptedPort, TUNNEL_OVERHEAD, WIRE_OVERHEAD, wireName, wirePrefix, wireTable } from './names.ts';

/** Of class E, which nothing else uses and no router forwards. */
const BASE = '240.183.0.0';
const SUBNET = `${BASE}/16`;

/** 32,768 nodes. */
export function tunnelAddress(index: number, slot: number): string {
  return formatAddress(parseAddress(BASE) + (index % 32_768) * 2 + slot);
}

/** Where what is encrypted for a node is sent; undefined: it has no keys. */
export function tunnelOf({ index, tunnelKeys }: PeerAssignment): string | undefined {
  return tunnelKeys === undefined ? undefined : tunnelAddress(index, tunnelKeys.active);
}

/** On the host's sysctls as patterns: an answer may come by another of the devices than it would be sent by. */
export function wireSysctls(prefix: string): string[] {
  return [`ipv4/conf/${wirePrefix(prefix)}*/rp_filter`];
}

/** True for what this file makes. */
export function isWire(object: KernelObject, prefix: string): boolean {
  if ('table' in object && typeof object.table === 'string') return object.table === wireTable(prefix);
  if (object.type === 'sysctl') return object.path.includes(`/${wirePrefix(prefix)}`);
  return object.type === 'wireguard' || ('dev' in object && object.dev.startsWith(wirePrefix(prefix)));
}

/** Nothing while no encrypted network is here, or this node has no keys. */
export function wireObjects(set: AssignmentSet, self: Self, views: readonly NetworkView[]): KernelObject[] {
  const { wire, prefix } = self;
  const me = set.peers.get(self.nodeId);
  const isUsed = views.some(({ network }) => network.encrypted === true);
  if (wire === undefined || me === undefined || !isUsed) return [];
  const others = [...set.peers.values()].filter((peer) => peer.nodeId !== self.nodeId);
  return [
    ...wire.keys.flatMap(({ slot, publicKey, keyFile }): KernelObject[] => {
      const dev = wireName(prefix, slot);
      const port = wire.port + slot;
      return [
        {
          type: 'wireguard',
          name: dev,
          mtu: self.mtu + TUNNEL_OVERHEAD - WIRE_OVERHEAD,
          port,
          publicKey,
          keyFile,
        },
        { type: 'sysctl', path: `ipv4/conf/${dev}/rp_filter`, value: '2' },
        ...others.flatMap((peer) => peerObjects(dev, wire.port, peer)),
        { type: 'address', dev, address: `${tunnelAddress(me.index, slot)}/32` },
      ];
    }),
    {
      type: 'route',
      dst: SUBNET,
      table: MAIN_TABLE,
      dev: wireName(prefix, wire.active),
      src: tunnelAddress(me.index, wire.active),
    },
    ...guardObjects(self),
  ];
}

/** Both keys of a node that changes them: it may send by either. */
function peerObjects(dev: string, port: number, peer: PeerAssignment): KernelObject[] {
  return (peer.tunnelKeys?.keys ?? []).map(({ slot, publicKey }) => ({
    type: 'wg-peer',
    dev,
    publicKey,
    address: peer.address,
    port: port + slot,
    allowed: `${tunnelAddress(peer.index, slot)}/32`,
  }));
}

/**
 * Whatever becomes of the devices and the route: nothing leaves for a tunnel address but through them, nothing comes to
 * the encrypted networks' port but through them, and nothing else at all passes them, least of all what a container sends.
 */
function guardObjects({ prefix, vxlanPort }: Self): KernelObject[] {
  const table = wireTable(prefix);
  const devices = `"${wirePrefix(prefix)}*"`;
  const port = encryptedPort(vxlanPort);
  return [
    { type: 'table', table },
    chain(
      table,
      'in',
      [
        `iifname != ${devices} udp dport ${port} drop`,
        `iifname ${devices} udp dport != ${port} drop`,
        `iifname ${devices} meta l4proto != udp drop`,
      ],
      'type filter hook input priority filter',
    ),
    chain(
      table,
      'out',
      [`oifname != ${devices} ip daddr ${SUBNET} drop`],
      'type filter hook output priority filter',
    ),
    chain(
      table,
      'through',
      [`iifname ${devices} drop`, `oifname ${devices} drop`, `ip daddr ${SUBNET} drop`],
      'type filter hook forward priority filter',
    ),
  ];
}
