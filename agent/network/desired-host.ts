/** What the host's own namespace holds: the far ends of uplinks, published ports and the way out. */
import type {
  AssignmentSet,
  Balance,
  MeshPort,
  ServiceAssignment,
  TaskAssignment,
} from '../../shared/model/index.ts';
import { type Backends, choose, type Dispatcher, slotKey } from './balance.ts';
import { hostPortsOf } from './host-ports.ts';
import { localTasks, mtuOf, type NetworkView, type Self } from './local.ts';
import { chain, type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import { hostTable, UPLINK, uplinkAddresses, uplinkName, uplinkPrefix } from './names.ts';
import { wireObjects, wireSysctls } from './wire.ts';

const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;

/** route_localnet lets a connection to localhost be led into the mesh. */
const UPLINK_SYSCTLS: readonly (readonly [string, string, string])[] = [
  ['ipv4', 'route_localnet', '1'],
  ['ipv4', 'rp_filter', '0'],
  ['ipv4', 'send_redirects', '0'],
  ['ipv6', 'disable_ipv6', '1'],
];

/** What is read back, as patterns. */
export function hostSysctls(prefix: string): string[] {
  const uplinks = UPLINK_SYSCTLS.map(([family, name]) => `${family}/conf/${uplinkPrefix(prefix)}*/${name}`);
  return ['ipv4/ip_forward', ...uplinks, ...wireSysctls(prefix)];
}

/** What does not hang on one service. */
export function hostBase(set: AssignmentSet, self: Self, views: readonly NetworkView[]): KernelObject[] {
  const withUplink = views.filter((view) => view.uplinkSlot !== undefined);
  const wire = wireObjects(set, self, views);
  if (withUplink.length === 0) return wire;
  return [
    ...wire,
    { type: 'sysctl', path: 'ipv4/ip_forward', value: '1' },
    ...withUplink.flatMap(uplinkObjects),
    ...tableObjects(hostTable(self.prefix), self.vxlanPort, withUplink),
    ...untrackedObjects(set, self),
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
    // Only published traffic enters by an address of the network; other networks' subnets stay unknown to the host.
    ...(view.network.ingress
      ? [{ type: 'route', dst: view.network.subnet, table: MAIN_TABLE, dev, via: sandbox } as const]
      : []),
  ];
}

function tableObjects(table: string, vxlanPort: number, views: readonly NetworkView[]): KernelObject[] {
  const local = 'fib daddr type local';
  const toBound = PROTOCOLS.map((protocol) => `ip daddr . ${protocol} dport vmap @${protocol}_bound`);
  const toPort = PROTOCOLS.map((protocol) => `${local} ${protocol} dport vmap @${protocol}_ports`);
  return [
    { type: 'table', table },
    { type: 'set', table, name: 'uplinks', of: 'ifname' },
    ...PROTOCOLS.flatMap((protocol): KernelObject[] => {
      const [port, bound] = [portDispatcher(table, protocol), boundDispatcher(table, protocol)];
      const target = `ip daddr . ${protocol} dport`;
      return [
        { type: 'set', table, name: `${protocol}_ports`, of: 'inet_service : verdict' },
        { type: 'set', table, name: port.backends, of: `${slotKey(port.key)} : ${target}` },
        { type: 'set', table, name: `${protocol}_bound`, of: 'ipv4_addr . inet_service : verdict' },
        { type: 'set', table, name: bound.backends, of: `${slotKey(bound.key)} : ${target}` },
      ];
    }),
    ...views.map(
      (view): KernelObject => ({
        type: 'element',
        table,
        set: 'uplinks',
        key: uplinkName(view.self.prefix, view.network.vni),
      }),
    ),
    chain(
      table,
      'published',
      // what is published on localhost is so for this node itself: nobody else may send there
      [...toBound.map((rule) => `ip daddr != 127.0.0.0/8 ${local} ${rule}`), ...toPort],
      'type nat hook prerouting priority dstnat',
    ),
    chain(
      table,
      'published_here',
      [...toBound.map((rule) => `${local} ${rule}`), ...toPort],
      'type nat hook output priority -100',
    ),
    chain(table, 'leave', LEAVE, 'type nat hook postrouting priority srcnat'),
    chain(table, 'isolate', [noTunnel(vxlanPort), ...ISOLATE], 'type filter hook forward priority filter'),
    chain(table, 'guard', [noTunnel(vxlanPort), ...GUARD], 'type filter hook input priority filter'),
  ];
}

/**
 * The tunnels' own packets are not tracked: each connection in them has a source port of its own, so each would be another
 * entry of the host's table, in which a full one loses packets; and nothing translates or asks for the state of what goes
 * from node to node. Only what bears this node's address: another's tunnel that is routed through here may need it.
 */
function untrackedObjects(set: AssignmentSet, self: Self): KernelObject[] {
  const me = set.peers.get(self.nodeId);
  if (me === undefined) return [];
  const table = hostTable(self.prefix);
  const rule = (address: string): string[] => [
    `ip ${address} ${me.address} udp dport ${self.vxlanPort} notrack`,
  ];
  return [
    chain(table, 'tunnel_in', rule('daddr'), 'type filter hook prerouting priority raw'),
    chain(table, 'tunnel_out', rule('saddr'), 'type filter hook output priority raw'),
  ];
}

/** Where a sandbox's traffic leaves it takes the host's address; so does what comes from localhost. */
const LEAVE = ['iifname @uplinks masquerade', 'oifname @uplinks ip saddr 127.0.0.0/8 masquerade'];

/**
 * A node takes packets of networks from whoever sends them to this port (RFC 7348 section 7): what a container sends there
 * would come out in any network.
 */
const noTunnel = (vxlanPort: number): string => `iifname @uplinks udp dport ${vxlanPort} drop`;

/** Into a sandbox goes what was published, and answers: nothing from another sandbox or from the outside. */
const ISOLATE = [
  'oifname @uplinks ct status dnat accept',
  'oifname @uplinks ct state established,related accept',
  'oifname @uplinks reject with icmp admin-prohibited',
];

/** route_localnet must not open what listens on localhost to containers. */
const GUARD = ['iifname @uplinks ip daddr 127.0.0.0/8 ct state new drop'];

function portDispatcher(table: string, protocol: MeshPort['protocol']): Dispatcher {
  return {
    ip: 'ip',
    table,
    prefix: `${protocol}_`,
    key: `${protocol} dport`,
    backends: `${protocol}_backends`,
    condition: `meta l4proto ${protocol} `,
  };
}

/** Of ports that are published on one address. */
function boundDispatcher(table: string, protocol: MeshPort['protocol']): Dispatcher {
  return {
    ip: 'ip',
    table,
    prefix: `${protocol}_bound_`,
    key: `ip daddr . ${protocol} dport`,
    backends: `${protocol}_bound_backends`,
    condition: `meta l4proto ${protocol} `,
  };
}

function portObjects(
  self: Self,
  { protocol, publishedPort, targetPort, hostIp }: MeshPort,
  backends: Backends,
  balance?: Balance,
): KernelObject[] {
  const table = hostTable(self.prefix);
  const target = (address: string): string => `${address} . ${targetPort}`;
  const targets = {
    own: backends.own.map(target),
    canaries: backends.canaries.map(({ share, members }) => ({ share, members: members.map(target) })),
  };
  const bound = hostIp !== undefined;
  const dispatcher = bound ? boundDispatcher(table, protocol) : portDispatcher(table, protocol);
  const key = bound ? `${hostIp} . ${publishedPort}` : String(publishedPort);
  const { objects, verdict } = choose(dispatcher, key, targets, balance);
  const set = `${protocol}_${bound ? 'bound' : 'ports'}`;
  return [...objects, { type: 'element', table, set, key, value: verdict }];
}

/** Ports published on every node. One without a serving backend is left to the host, which refuses it. */
export function meshObjects(self: Self, service: ServiceAssignment, serving: Backends): KernelObject[] {
  if (serving.own.length === 0) return [];
  return service.ports.flatMap((port) => portObjects(self, port, serving, service.balance));
}

/** Ports of mode host: only where the task is, led to its address on its first network that has an uplink. */
function hostPortObjects(set: AssignmentSet, self: Self, views: readonly NetworkView[]): KernelObject[] {
  return localTasks(set, self)
    .filter((task) => task.desired === 'running')
    .flatMap((task) => hostPortRules(task, self, views));
}

function hostPortRules(task: TaskAssignment, self: Self, views: readonly NetworkView[]): KernelObject[] {
  const ports = hostPortsOf(task);
  const place = task.addresses
    .map((address) => ({ address, view: views.find((v) => v.network.networkId === address.network) }))
    .find((candidate) => candidate.view !== undefined);
  if (ports.length === 0 || place?.view === undefined) return [];
  const { address, view } = place;
  const dev = uplinkName(self.prefix, view.network.vni);
  const via = uplinkAddresses(view.uplinkSlot ?? 0).sandbox;
  return [
    { type: 'route', dst: `${address.address}/32`, table: MAIN_TABLE, dev, via },
    ...ports.flatMap((port) => portObjects(self, port, { own: [address.address], canaries: [] })),
  ];
}
