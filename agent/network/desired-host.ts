/** What the host's own namespace holds: the far ends of uplinks, published ports and the way out. */
import { isWildcard, publishesOn } from '../../shared/lib/host-address.ts';
import type {
  AssignmentSet,
  Balance,
  MeshPort,
  ServiceAssignment,
  TaskAssignment,
} from '../../shared/model/index.ts';
import { type Backends, choose, type Dispatcher, slotKey } from './balance.ts';
import { deviceSysctls6 } from './desired-device6.ts';
import { FORWARDING6_SYSCTLS, forwarding6, hostUplink6 } from './desired-host6.ts';
import type { EndpointIndex } from './endpoint-index.ts';
import { backendsIn, type Family, familiesOf, inFamily, IPV4, IPV6, tableIn } from './family.ts';
import { hostPortsOf } from './host-ports.ts';
import { localTasks, mtuOf, type NetworkView, type Self } from './local.ts';
import { chain, type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import { CONTAINER_ADDRESS6, hostTable, UPLINK, uplinkAddresses, uplinkName, uplinkPrefix } from './names.ts';
import { vlanObjects } from './outside-links.ts';
import { seenRules, seenSet } from './seen-flows.ts';
import { wireObjects, wireSysctls } from './wire.ts';

const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;

/** route_localnet lets a connection to localhost be led into the mesh. */
const UPLINK_SYSCTLS: readonly (readonly [string, string, string])[] = [
  ['ipv4', 'forwarding', '1'],
  ['ipv4', 'route_localnet', '1'],
  ['ipv4', 'rp_filter', '0'],
  ['ipv4', 'send_redirects', '0'],
];

/** What is read back, as patterns. */
export function hostSysctls(prefix: string): string[] {
  const uplinks = [
    ...UPLINK_SYSCTLS.map(([family, name]) => `${family}/conf/${uplinkPrefix(prefix)}*/${name}`),
    ...deviceSysctls6(`${uplinkPrefix(prefix)}*`).map(([path]) => path),
  ];
  return ['ipv4/ip_forward', ...FORWARDING6_SYSCTLS, ...uplinks, ...wireSysctls(prefix)];
}

/** What does not hang on one service. */
export function hostBase(set: AssignmentSet, self: Self, views: readonly NetworkView[]): KernelObject[] {
  const withUplink = views.filter((view) => view.uplinkSlot !== undefined);
  const below = [...wireObjects(set, self, views), ...vlanObjects(views, self)];
  if (withUplink.length === 0) return below;
  const ipv6 = withUplink.filter(({ network }) => network.subnet6 !== undefined);
  return [
    ...below,
    { type: 'sysctl', path: 'ipv4/ip_forward', value: '1' },
    ...(ipv6.length === 0 ? [] : forwarding6(self)),
    ...withUplink.flatMap(uplinkObjects),
    ...tableObjects(IPV4, self, set.peers.get(self.nodeId)?.address),
    ...(ipv6.length === 0 ? [] : tableObjects(IPV6, self)),
    ...hostPortObjects(set, self, withUplink),
  ];
}

function uplinkObjects(view: NetworkView): KernelObject[] {
  const dev = uplinkName(view.self.prefix, view.network.vni);
  const { host, sandbox } = uplinkAddresses(view.uplinkSlot ?? 0);
  const mtu = mtuOf(view.network, view.self);
  return [
    { type: 'veth', name: dev, mtu, peer: { name: UPLINK, netns: view.netns, mtu } },
    ...UPLINK_SYSCTLS.map(
      ([family, name, value]): KernelObject => ({
        type: 'sysctl',
        path: `${family}/conf/${dev}/${name}`,
        value,
      }),
    ),
    { type: 'address', dev, address: `${host}/30` },
    { type: 'route', dst: `${sandbox}/32`, table: MAIN_TABLE, dev },
    // Only published traffic enters by an address of the network; other networks' subnets stay unknown to the host.
    ...(view.network.ingress
      ? [{ type: 'route', dst: view.network.subnet, table: MAIN_TABLE, dev, via: sandbox } as const]
      : []),
    ...hostUplink6(view, dev),
  ];
}

function uplinkPattern({ prefix }: Self): string {
  return `"${uplinkPrefix(prefix)}*"`;
}

/** `me` is the address that this node's tunnels have. */
function tableObjects(family: Family, self: Self, me?: string): KernelObject[] {
  const { ip, type } = family;
  const uplinks = uplinkPattern(self);
  const table = tableIn(family, hostTable(self.prefix));
  return [
    { type: 'table', table },
    ...PROTOCOLS.flatMap((protocol): KernelObject[] => {
      const port = portDispatcher(family, self, protocol);
      const bound = boundDispatcher(family, self, protocol);
      const target = `${ip} daddr . ${protocol} dport`;
      return [
        { type: 'set', table, name: `${protocol}_ports`, of: 'inet_service : verdict' },
        { type: 'set', table, name: port.backends, of: `${slotKey(port.key)} : ${target}` },
        { type: 'set', table, name: `${protocol}_bound`, of: `${type} . inet_service : verdict` },
        { type: 'set', table, name: bound.backends, of: `${slotKey(bound.key)} : ${target}` },
      ];
    }),
    ...publishingChains(family, table, uplinks),
    seenSet(family, table),
    chain(table, 'seen', seenRules(family, `oifname ${uplinks} `), SEEN_HOOK),
    chain(table, 'leave', leaveRules(family, uplinks), 'type nat hook postrouting priority srcnat'),
    chain(table, 'isolate', isolateRules(family, uplinks), 'type filter hook forward priority filter'),
    ...rawChains(family, table, self, me),
  ];
}

/** Before everybody else's: of those that give a flow another source only the first one sees it. */
const SEEN_HOOK = 'type nat hook postrouting priority -190';

/** What is led into the mesh: of what comes, and of what the node itself sends. */
function publishingChains(
  { ip, loopback, prohibited }: Family,
  table: string,
  uplinks: string,
): KernelObject[] {
  // Link-local addresses are not routed: an answer could not come back.
  const local = `${ip === 'ip6' ? 'ip6 saddr != fe80::/10 ' : ''}fib daddr type local`;
  const toBound = PROTOCOLS.map((protocol) => `${ip} daddr . ${protocol} dport vmap @${protocol}_bound`);
  const toPort = PROTOCOLS.map((protocol) => `${local} ${protocol} dport vmap @${protocol}_ports`);
  return [
    chain(
      table,
      'published',
      // what is published on localhost is so for this node itself: nobody else may send there
      [...toBound.map((rule) => `${ip} daddr != ${loopback} ${local} ${rule}`), ...toPort],
      'type nat hook prerouting priority dstnat',
    ),
    chain(
      table,
      'published_here',
      [
        ...toBound.map((rule) => `${local} ${rule}`),
        ...toPort,
        // The node's own programs begin nothing else there. Here only the first packet of a connection passes, and no tunnel's.
        `oifname ${uplinks} reject with ${prohibited}`,
      ],
      'type nat hook output priority -100',
    ),
  ];
}

/*
 * In what follows `uplinks` is the pattern of their names. All that the host takes or forwards passes these rules, tunnels' and others'
 * packets alike: a device is known by the beginning of its name, not looked up, and what tells most packets apart is asked first.
 */

/** Where a sandbox's traffic leaves it takes the host's address; so does what comes from localhost. */
function leaveRules({ ip, loopback }: Family, uplinks: string): string[] {
  return [`iifname ${uplinks} masquerade`, `oifname ${uplinks} ${ip} saddr ${loopback} masquerade`];
}

function rawChains(family: Family, table: string, self: Self, me?: string): KernelObject[] {
  const arriving = arrivingRules(family, self, me);
  const leaving = `ip saddr ${me} udp dport ${self.vxlanPort} notrack`;
  return [
    chain(table, 'arriving', arriving, 'type filter hook prerouting priority raw'),
    ...(me === undefined
      ? []
      : [chain(table, 'tunnel_out', [leaving], 'type filter hook output priority raw')]),
  ];
}

/**
 * Before anything is tracked or translated, and in one chain, for each is a call more for each packet.
 *
 * The tunnels' own packets are not tracked: each connection in them has a source port of its own, so each would be another
 * entry of the host's table, in which a full one loses packets; and nothing translates or asks for the state of what goes
 * from node to node. Only what bears this node's address: another's tunnel that is routed through here may need it.
 *
 * From containers comes no tunnel: a node takes packets of networks from whoever sends them to this port (RFC 7348 section
 * 7), and what a container sends there would come out in any network. Nor does anything for localhost, which route_localnet
 * would let in: answers to what localhost asked of the mesh bear the uplink's address here.
 */
function arrivingRules({ ip, loopback }: Family, self: Self, me?: string): string[] {
  const { vxlanPort } = self;
  const uplinks = uplinkPattern(self);
  return [
    ...(me === undefined
      ? []
      : [`ip daddr ${me} udp dport ${vxlanPort} iifname != ${uplinks} notrack accept`]),
    `iifname ${uplinks} udp dport ${vxlanPort} drop`,
    `iifname ${uplinks} ${ip} daddr ${loopback} drop`,
  ];
}

/** Into a sandbox goes what was published, and answers: nothing from another sandbox or from the outside. */
function isolateRules({ prohibited }: Family, uplinks: string): string[] {
  return [
    `oifname != ${uplinks} accept`,
    'ct state established,related accept',
    'ct status dnat accept',
    `reject with ${prohibited}`,
  ];
}

function portDispatcher(family: Family, self: Self, protocol: MeshPort['protocol']): Dispatcher {
  return {
    ip: family.ip,
    table: tableIn(family, hostTable(self.prefix)),
    prefix: `${protocol}_`,
    key: `${protocol} dport`,
    backends: `${protocol}_backends`,
    condition: `meta l4proto ${protocol} `,
  };
}

/** Of ports that are published on one address. */
function boundDispatcher(family: Family, self: Self, protocol: MeshPort['protocol']): Dispatcher {
  return {
    ip: family.ip,
    table: tableIn(family, hostTable(self.prefix)),
    prefix: `${protocol}_bound_`,
    key: `${family.ip} daddr . ${protocol} dport`,
    backends: `${protocol}_bound_backends`,
    condition: `meta l4proto ${protocol} `,
  };
}

/** Backends are of the family. Nothing when the port is published on addresses of the other one. */
function portObjects(
  family: Family,
  self: Self,
  { protocol, publishedPort, targetPort, hostIp }: MeshPort,
  backends: Backends,
  balance?: Balance,
): KernelObject[] {
  if (!publishesOn(hostIp, family.ip)) return [];
  const target = (address: string): string => `${address} . ${targetPort}`;
  const targets = {
    own: backends.own.map(target),
    canaries: backends.canaries.map(({ share, members }) => ({ share, members: members.map(target) })),
  };
  const bound = hostIp !== undefined && !isWildcard(hostIp);
  const dispatcher = (bound ? boundDispatcher : portDispatcher)(family, self, protocol);
  const key = bound ? `${hostIp} . ${publishedPort}` : String(publishedPort);
  const { objects, value } = choose(dispatcher, key, targets, balance);
  const set = `${protocol}_${bound ? 'bound' : 'ports'}`;
  return [...objects, { type: 'element', table: dispatcher.table, set, key, value }];
}

/** Ports published on every node. One without a serving backend is left to the host, which refuses it. */
export function meshObjects(
  { network, self, set }: NetworkView,
  service: ServiceAssignment,
  index: EndpointIndex,
): KernelObject[] {
  if (service.ports.length === 0) return [];
  return familiesOf(network).flatMap((family) => {
    const serving = index.backendsOf(
      service,
      // Its node may have no IPv6, or an agent of before there was any of it here.
      ({ nodeId }) => family.ip === 'ip' || set.peers.get(nodeId)?.ipv6 === true,
    );
    const backends = backendsIn(family, network, serving);
    if (backends.own.length === 0) return [];
    return service.ports.flatMap((port) => portObjects(family, self, port, backends, service.balance));
  });
}

/**
 * Ports of mode host: only where the task is, led to its address on its first network that has an uplink; over IPv6 on
 * ingress, which has it on more nodes and to which there is a way already.
 */
function hostPortObjects(set: AssignmentSet, self: Self, views: readonly NetworkView[]): KernelObject[] {
  return localTasks(set, self)
    .filter((task) => task.desired === 'running')
    .flatMap((task) => [IPV4, IPV6].flatMap((family) => hostPortRules(family, task, self, views)));
}

function hostPortRules(
  family: Family,
  task: TaskAssignment,
  self: Self,
  views: readonly NetworkView[],
): KernelObject[] {
  const ports = hostPortsOf(task);
  const places = task.addresses.flatMap(({ network, address }) => {
    const view = views.find((one) => one.network.networkId === network);
    return view === undefined
      ? []
      : inFamily(family, view.network, [address]).map((own) => ({ view, address: own }));
  });
  const isIpv6 = family === IPV6;
  const place = places.find(({ view }) => isIpv6 && view.network.ingress) ?? places[0];
  if (ports.length === 0 || place === undefined) return [];
  const { address, view } = place;
  const dev = uplinkName(self.prefix, view.network.vni);
  const via = isIpv6 ? CONTAINER_ADDRESS6 : uplinkAddresses(view.uplinkSlot ?? 0).sandbox;
  return [
    ...(isIpv6 && view.network.ingress
      ? []
      : [{ type: 'route', dst: `${address}/${isIpv6 ? 128 : 32}`, table: MAIN_TABLE, dev, via } as const]),
    ...ports.flatMap((port) => portObjects(family, self, port, { own: [address], canaries: [] })),
  ];
}
