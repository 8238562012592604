/** What the sandbox of one network holds. */
import type {
  EndpointAssignment,
  NetworkAssignment,
  PeerAssignment,
  ServiceAssignment,
} from '../../shared/model/index.ts';
import {
  endpointObjects6,
  IPV6_OFF,
  IPV6_ON,
  ipv6Base,
  peerNeighbour6,
  uplinkObjects6,
} from './desired-sandbox6.ts';
import { questionLimit } from './dns-limit.ts';
import { fastEndpoint, fastPathBase } from './fast-path.ts';
import { backendsIn, type Family, familiesOf, inFamily, IPV6 } from './family.ts';
import type { AllowLists } from './allow.ts';
import { subnetsOf } from '../../shared/lib/network-subnets.ts';
import { type Backends, choose, type Dispatcher, slotKey, standingChains } from './balance.ts';
import { hasTunnel, mtuOf, type NetworkView } from './local.ts';
import { localObjects, sourceObjects } from './local-objects.ts';
import { type KernelObject, MAIN_TABLE, chain } from './kernel-object.ts';
import {
  encryptedPort,
  NAME_SERVER,
  originOf,
  ownAddress,
  TUNNEL,
  tunnelAddress6,
  tunnelMac,
  UPLINK,
  uplinkAddresses,
} from './names.ts';

import { DEVICE_SYSCTLS, deviceSysctls, LINK_SYSCTLS } from './sandbox-sysctls.ts';
import { seenRules, seenSet } from './seen-flows.ts';
import { tunnelOf } from './wire.ts';

const ORIGIN_PRIORITY = 2000;

/** From a VIP to the number of a choice, and from that to the chain that makes it. */
const VIPS = 'vip_choices';
const CHOICES = 'choices';

const NOBODY = 'nobody';

/** Set before any device exists, so that each one is born with them. */
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['ipv4/ip_forward', '1'],
  ['ipv4/conf/all/rp_filter', '0'],
  ['ipv4/conf/default/rp_filter', '0'],
  ['ipv4/conf/all/send_redirects', '0'],
  ['ipv4/conf/default/send_redirects', '0'],
  ['ipv4/conf/default/proxy_arp', '1'],
];

/** What is read back, as patterns. */
export const SANDBOX_SYSCTLS: readonly string[] = [
  ...new Set([...SYSCTLS, ...IPV6_OFF, ...IPV6_ON].map(([path]) => path)),
  ...DEVICE_SYSCTLS,
];

/** What does not hang on one endpoint or service. `me` is this node among the peers. */
export function sandboxBase(view: NetworkView, me: PeerAssignment, allowed: AllowLists): KernelObject[] {
  const ipv6 = view.network.subnet6 === undefined ? IPV6_OFF : IPV6_ON;
  return [
    ...[...SYSCTLS, ...ipv6].map(([path, value]): KernelObject => ({ type: 'sysctl', path, value })),
    ...foundation(view, me),
    ...ipv6Base(view, me),
    ...uplink(view),
    ...(view.network.ingress ? originObjects(view, me) : []),
    ...fastPathBase(view),
    ...localObjects(view),
    ...familiesOf(view.network).flatMap((family) => tableObjects(view, family)),
    ...allowed.objects,
  ];
}

function foundation(view: NetworkView, me: PeerAssignment): KernelObject[] {
  const { network } = view;
  return [
    ...tunnel(view, me),
    ...(network.outside === undefined ? subnetsOf(network) : [{ gateway: NAME_SERVER }]).map(
      ({ gateway }): KernelObject => ({ type: 'address', dev: 'lo', address: `${gateway}/32` }),
    ),
    // What has no better route has no endpoint: it is led to lo, where the forward chain refuses it at once. A route
    // of type unreachable would do the same but proxy ARP answers only for what it can forward, and VIPs are here too.
    ...subnetsOf(network).map(
      ({ subnet }): KernelObject => ({ type: 'route', dst: subnet, table: MAIN_TABLE, dev: 'lo' }),
    ),
  ];
}

function tunnel({ network, self }: NetworkView, me: PeerAssignment): KernelObject[] {
  if (!hasTunnel(network, self)) return [];
  const way =
    network.encrypted === true
      ? { port: encryptedPort(self.vxlanPort) }
      : { port: self.vxlanPort, local: me.address };
  const mtu = mtuOf(network, self);
  return [
    { type: 'vxlan', name: TUNNEL, id: network.vni, mtu, mac: tunnelMac(me.index), ...way },
    ...deviceSysctls(network, TUNNEL, LINK_SYSCTLS),
    { type: 'address', dev: TUNNEL, address: `${ownAddress(me.index)}/32` },
  ];
}

function uplink(view: NetworkView): KernelObject[] {
  if (view.uplinkSlot === undefined) return [];
  const { host, sandbox } = uplinkAddresses(view.uplinkSlot);
  return [
    { type: 'veth', name: UPLINK, mtu: mtuOf(view.network, view.self) },
    ...deviceSysctls(view.network, UPLINK, LINK_SYSCTLS),
    { type: 'address', dev: UPLINK, address: `${sandbox}/30` },
    // The kernel makes one to the whole /30 with the address; who flushes the routes would take it, and the next one with it.
    { type: 'route', dst: `${host}/32`, table: MAIN_TABLE, dev: UPLINK },
    { type: 'route', dst: '0.0.0.0/0', table: MAIN_TABLE, dev: UPLINK, via: host },
    ...uplinkObjects6(view.network, view.uplinkSlot),
  ];
}

/** `dst`: where packets for that node are sent. */
function peerObjects(peer: PeerAssignment, dst: string): KernelObject[] {
  const mac = tunnelMac(peer.index);
  return [
    { type: 'neighbour', dev: TUNNEL, address: peer.address, mac },
    { type: 'fdb', dev: TUNNEL, mac, dst },
  ];
}

/** The way to an endpoint on another node; its node's neighbour and forwarding entry are there once for all of them. */
export function endpointObjects(
  view: NetworkView,
  me: PeerAssignment,
  endpoint: EndpointAssignment,
): KernelObject[] {
  const { network, set, self } = view;
  const peer = set.peers.get(endpoint.nodeId);
  if (peer === undefined || endpoint.nodeId === me.nodeId || !hasTunnel(network, self)) return [];
  const to = network.encrypted === true ? tunnelOf(peer) : peer.address;
  if (to === undefined) return [];
  const dst = `${endpoint.address}/32`;
  const src = ownAddress(me.index);
  return [
    ...peerObjects(peer, to),
    { type: 'route', dst, table: MAIN_TABLE, dev: TUNNEL, via: peer.address, onlink: true, src },
    ...endpointObjects6(view, me, peer, endpoint),
    ...fastEndpoint(view, peer, endpoint),
  ];
}

/** Answers to a published connection leave by the node through which it came. */
function originObjects(view: NetworkView, me: PeerAssignment): KernelObject[] {
  const peers = [...view.set.peers.values()].filter((peer) => peer.nodeId !== me.nodeId);
  return [
    ...peers.flatMap((peer) => peerObjects(peer, peer.address)),
    ...familiesOf(view.network).flatMap((family) => originsIn(family, peers)),
  ];
}

function originsIn(family: Family, peers: readonly PeerAssignment[]): KernelObject[] {
  const { table: own, everything } = family;
  const isIpv6 = family === IPV6;
  return [
    { type: 'set', table: own, name: 'origins', of: 'ether_addr : mark' },
    chain(
      own,
      'origin',
      [
        `iifname "${TUNNEL}" ct state new ct mark set ether saddr map @origins`,
        `iifname != "${TUNNEL}" meta mark set ct mark`,
      ],
      'type filter hook prerouting priority mangle',
    ),
    ...peers.flatMap((peer): KernelObject[] => {
      const { mark, table } = originOf(peer.index);
      const way = isIpv6 ? { via: tunnelAddress6(peer.index) } : { via: peer.address, onlink: true };
      return [
        ...(isIpv6 ? [peerNeighbour6(peer)] : []),
        { type: 'element', table: own, set: 'origins', key: tunnelMac(peer.index), value: String(mark) },
        {
          type: 'rule',
          priority: ORIGIN_PRIORITY,
          table,
          fwmark: mark,
          ...(isIpv6 ? { ipv6: true as const } : {}),
        },
        { type: 'route', dst: everything, table, dev: TUNNEL, ...way },
      ];
    }),
  ];
}

function tableObjects(view: NetworkView, family: Family): KernelObject[] {
  const { ip, table, type } = family;
  const dispatcher = vipDispatcher(family);
  return [
    { type: 'table', table },
    { type: 'set', table, name: VIPS, of: `${type} : mark` },
    { type: 'set', table, name: CHOICES, of: 'mark : verdict' },
    { type: 'set', table, name: dispatcher.backends, of: `${slotKey(dispatcher.key)} : ${ip} daddr` },
    ...standingChains(dispatcher),
    { type: 'set', table, name: 'hairpin', of: `${type} . ${type}` },
    chain(table, 'to_backend', [toBackend(ip)], 'type nat hook prerouting priority dstnat'),
    seenSet(family, table),
    chain(table, 'leave', leaveRules(view, family), 'type nat hook postrouting priority srcnat'),
    chain(table, NOBODY, rejections(family)),
    chain(table, 'refuse', refuseRules(view), 'type filter hook forward priority filter'),
    ...(ip === 'ip' ? nameServerObjects(table) : []),
    { type: 'set', table, name: 'sources', of: `ifname . ${type}` },
    chain(table, 'own_address', ownAddressOnly(family), 'type filter hook prerouting priority raw'),
    ...sourceObjects(view, family),
  ];
}

/** A container can not send as another: neither by a false source address, nor to have answers sent to somebody else. */
function ownAddressOnly({ ip }: Family): string[] {
  return [...(ip === 'ip6' ? [NEIGHBOURS] : []), `iifname "c*" iifname . ${ip} saddr != @sources drop`];
}

/** How a container and its sandbox find one another: of link-local addresses, which are not routed. */
const NEIGHBOURS =
  'iifname "c*" ip6 saddr fe80::/64 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept';

/**
 * While no agent runs nobody listens on the name server's port. Asked again, resolvers get an answer from the next agent;
 * told that nobody listens, they give up at once: so they are not told. (UDP: the port is in the datagram that is quoted.)
 */
const NO_ANSWER = [
  'icmp type destination-unreachable icmp code port-unreachable @th,240,16 53 drop',
  'tcp sport 53 tcp flags & rst == rst drop',
];

function nameServerObjects(table: string): KernelObject[] {
  return [
    chain(table, 'no_answer', NO_ANSWER, 'type filter hook output priority filter'),
    ...questionLimit(table),
  ];
}

/** A container that reaches itself through a VIP must see another's address, or it would answer itself directly. */
function leaveRules(view: NetworkView, family: Family): string[] {
  const { ip } = family;
  const hairpin = `ct status dnat ${ip} saddr . ${ip} daddr @hairpin masquerade`;
  const { subnet6 = '' } = view.network;
  const subnets = ip === 'ip6' ? [subnet6] : subnetsOf(view.network).map(({ subnet }) => subnet);
  const own = subnets.length === 1 ? subnets.join('') : `{ ${subnets.join(', ')} }`;
  const out = `${ip} saddr ${own} oifname "${UPLINK}" masquerade`;
  return [...seenRules(family), hairpin, ...(view.uplinkSlot === undefined ? [] : [out])];
}

/** On ingress, where they are kept apart, and where their network is not this one, containers answer what was published; they do not begin anything among themselves. */
function refuseRules(view: NetworkView): string[] {
  const begun = `ct state new iifname "c*" oifname != "${UPLINK}"`;
  const { ingress, isolated, outside } = view.network;
  const apart = ingress || isolated === true || outside !== undefined;
  return ['oifname "lo"', ...(apart ? [begun] : [])].map((condition) => `${condition} goto ${NOBODY}`);
}

/** As an address answers that nobody has. In a chain of its own: every packet that is routed passes its conditions, few the refusals. */
function rejections({ noHost }: Family): string[] {
  return ['meta l4proto tcp reject with tcp reset', `reject with ${noHost}`];
}

/** The mark carries the number from one map to the other: nothing that is new has one. */
const toBackend = (ip: Family['ip']): string =>
  `meta mark set ${ip} daddr map @${VIPS} meta mark vmap @${CHOICES}`;

function vipDispatcher({ ip, table }: Family): Dispatcher {
  const key = `${ip} daddr`;
  return { ip, table, prefix: '', key, backends: 'backends', condition: '', choices: CHOICES };
}

/** A VIP without a serving backend has no element: it is refused like any address without an endpoint. */
export function vipObjects(
  network: NetworkAssignment,
  { vip, balance }: ServiceAssignment,
  serving: Backends,
): KernelObject[] {
  if (vip === undefined || serving.own.length === 0) return [];
  return familiesOf(network).flatMap((family): KernelObject[] => {
    const backends = backendsIn(family, network, serving);
    return inFamily(family, network, [vip]).flatMap((key) => {
      const { objects, value } = choose(vipDispatcher(family), key, backends, balance);
      return [...objects, { type: 'element', table: family.table, set: VIPS, key, value }];
    });
  });
}
