/** What a container's own network namespace gets, once, before its first process starts. */
import { readBandwidth } from '../../shared/lib/bandwidth.ts';
import { prefixBits, subnetOf, subnetsOf } from '../../shared/lib/network-subnets.ts';
import { address6, prefixed6 } from '../../shared/lib/network-ipv6.ts';
import type { NetworkAssignment, PublishedPort, TaskAssignment } from '../../shared/model/index.ts';
import { deviceSysctls6 } from './desired-device6.ts';
import { type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import { CONTAINER_ADDRESS6, NAME_SERVER, nameLink, PORT_ADDRESS6 } from './names.ts';

const FIRST_TABLE = 100;
const FIRST_PRIORITY = 1000;

export interface Interface {
  readonly dev: string;
  /** That of `dev`: what makes of several ways one for each. */
  readonly number: number;
  readonly address: string;
  readonly network: NetworkAssignment;
  /** Of the networks that have a way out, the one with the highest has the container's. */
  readonly priority: number;
  /** That it is to have. Absent: any. */
  readonly mac?: string;
  /** Of the interface on ingress: the task's. */
  readonly published?: readonly PublishedPort[];
  /** Absent: the network leads nowhere else. */
  readonly gateway?: string;
  /** What a plugin made for it. */
  readonly joined?: Joined;
}

/** An interface that a network plugin made on the host, for a container. */
export interface Joined {
  readonly device: string;
  /** The address that it is to have. Absent: its own. */
  readonly mac?: string;
  readonly gateway?: string;
  readonly routes: readonly { readonly dst: string; readonly via?: string }[];
}

/** By network id. */
export type Joins = ReadonlyMap<string, Joined>;

const NO_JOINS: Joins = new Map();

/** eth0, eth1, ... by the numbers of the task's addresses; networks that are not known are left out. */
export function interfacesOf(
  task: TaskAssignment,
  networks: ReadonlyMap<string, NetworkAssignment>,
  joins: Joins = NO_JOINS,
): Interface[] {
  return task.addresses.flatMap(({ address, network: networkId, device }, index) => {
    const network = networks.get(networkId);
    const number = device ?? index;
    const attachment = task.spec.networks.find((one) => one.network === networkId);
    const priority = attachment?.wayOutPriority ?? 0;
    if (network === undefined) return [];
    const joined = joins.get(networkId);
    const gateway = gatewayOf(network, address, joined);
    const mac = network.ingress ? task.spec.container.runtime?.macAddress : attachment?.macAddress;
    return [
      {
        ...{ dev: `eth${number}`, number, address, network, priority },
        ...(network.ingress ? { published: task.spec.ports } : {}),
        ...(gateway === undefined ? {} : { gateway }),
        ...(joined === undefined ? {} : { joined }),
        ...(mac === undefined ? {} : { mac }),
      },
    ];
  });
}

/** Of a network of Shoal's the sandbox, which is one for an internal network too: it refuses. */
function gatewayOf(network: NetworkAssignment, address: string, joined?: Joined): string | undefined {
  const { outside, internal } = network;
  if (outside === undefined) return subnetOf(network, address).gateway;
  if (internal) return undefined;
  return outside.kind === 'plugin' ? joined?.gateway : subnetOf(network, address).gateway;
}

/** The way out, and to names: the network that has one, is not ingress and comes first by priority; else ingress, else the first at all. */
export function defaultInterface(interfaces: readonly Interface[]): Interface | undefined {
  const [first] = interfaces
    .filter(({ network, gateway }) => !network.internal && !network.ingress && gateway !== undefined)
    .toSorted((a, b) => b.priority - a.priority);
  return first ?? interfaces.find(({ network }) => network.ingress) ?? interfaces[0];
}

/**
 * Where what has no other route leaves. A program with SCTP answers from the address of the way to its client, not from the
 * one that was asked: so for it the way of published ports is the way out, whatever the priorities. A datagram that answers
 * one to a published port bears the address of that interface, unless the program says another: so it is ingress for those
 * who publish such ports and do not ask for another way. Over IPv6 ports of mode host come by ingress, too.
 */
export function wayOutOf(interfaces: readonly Interface[], ipv6 = false): Interface | undefined {
  const usual = defaultInterface(interfaces);
  const ingress = interfaces.find(({ published }) => published !== undefined);
  const ports = ingress?.published?.filter(({ mode }) => ipv6 || mode === 'ingress') ?? [];
  const publishes = new Set(ports.map(({ protocol }) => protocol));
  if (publishes.has('sctp')) return ingress;
  return publishes.has('udp') && (usual?.priority ?? 0) <= 0 ? ingress : usual;
}

/**
 * Addresses, routes and rules. With several networks an answer leaves by the interface whose address it bears: a
 * published connection shows its client's own address, and must be answered through ingress. `bytesPerSecond`: how much
 * each may send.
 */
export function containerObjects(interfaces: readonly Interface[], bytesPerSecond?: number): KernelObject[] {
  const way = wayOutOf(interfaces);
  const names = defaultInterface(interfaces);
  const ipv6 = interfaces.filter(({ network }) => network.subnet6 !== undefined);
  const way6 = wayOutOf(ipv6, true);
  return [
    ...interfaces.map(
      ({ dev, address, network }): KernelObject => ({
        type: 'address',
        dev,
        address: `${address}/${prefixBits(network, address)}`,
      }),
    ),
    ...interfaces.flatMap(otherSubnets),
    ...interfaces.flatMap(ipv6Objects),
    ...interfaces.flatMap((one) => pluginRoutes(one, MAIN_TABLE)),
    ...(way === undefined ? [] : defaultRoute(way, MAIN_TABLE)),
    ...(names === undefined ? [] : nameRoute(names, MAIN_TABLE)),
    ...(way6 === undefined ? [] : [defaultRoute6(way6, MAIN_TABLE)]),
    ...(interfaces.length > 1 ? [...interfaces.flatMap(sourceObjects), ...ipv6.flatMap(sourceObjects6)] : []),
    ...(bytesPerSecond === undefined
      ? []
      : interfaces.map(({ dev }): KernelObject => ({ type: 'rate', dev, bytesPerSecond }))),
  ];
}

/** What is read back of a container's devices, as patterns. */
export const CONTAINER_SYSCTLS: readonly string[] = deviceSysctls6('eth*').map(([path]) => path);

/** All of the subnet by the sandbox: nothing of it is on the interface's wire. */
function ipv6Objects({ dev, address, network }: Interface): KernelObject[] {
  const own = prefixed6(network, address);
  if (own === undefined || network.subnet6 === undefined) return [];
  return [
    ...deviceSysctls6(dev).map(([path, value]): KernelObject => ({ type: 'sysctl', path, value })),
    { type: 'address', dev, address: `${CONTAINER_ADDRESS6}/64` },
    { type: 'address', dev, address: own },
    { type: 'route', dst: network.subnet6, table: MAIN_TABLE, dev, via: PORT_ADDRESS6 },
  ];
}

/** What a container may send on each interface. */
export function outOf(task: TaskAssignment): number | undefined {
  return readBandwidth(task.spec.container.labels).bandwidth.outOf;
}

/** By the gateway: only its own subnet is on an interface's wire. */
function otherSubnets({ dev, address, network }: Interface): KernelObject[] {
  if (network.outside?.kind === 'plugin') return [];
  const own = subnetOf(network, address);
  return subnetsOf(network)
    .filter(({ subnet }) => subnet !== own.subnet)
    .map(({ subnet }) => ({ type: 'route', dst: subnet, table: MAIN_TABLE, dev, via: own.gateway }));
}

function defaultRoute({ dev, gateway }: Interface, table: number): KernelObject[] {
  return gateway === undefined ? [] : [{ type: 'route', dst: '0.0.0.0/0', table, dev, via: gateway }];
}

/** Where the gateway is not the sandbox, names are asked of it by a device of their own, under the same address. */
function nameRoute({ number, address, network }: Interface, table: number): KernelObject[] {
  if (network.outside === undefined) return [];
  return [{ type: 'route', dst: `${NAME_SERVER}/32`, table, dev: nameLink(number), src: address }];
}

function pluginRoutes({ dev, joined }: Interface, table: number): KernelObject[] {
  return (joined?.routes ?? []).map((route) => ({ type: 'route', table, dev, ...route }));
}

function defaultRoute6({ dev }: Interface, table: number): KernelObject {
  return { type: 'route', dst: '::/0', table, dev, via: PORT_ADDRESS6 };
}

function sourceObjects6(one: Interface): KernelObject[] {
  const { dev, number, network } = one;
  const own = address6(network, one.address);
  if (own === undefined || network.subnet6 === undefined) return [];
  const table = FIRST_TABLE + number;
  return [
    { type: 'route', dst: network.subnet6, table, dev, via: PORT_ADDRESS6 },
    defaultRoute6(one, table),
    { type: 'rule', priority: FIRST_PRIORITY + number, table, from: `${own}/128` },
  ];
}

function sourceObjects(one: Interface): KernelObject[] {
  const table = FIRST_TABLE + one.number;
  return [
    { type: 'route', dst: subnetOf(one.network, one.address).subnet, table, dev: one.dev },
    ...defaultRoute(one, table),
    ...pluginRoutes(one, table),
    ...nameRoute(one, table),
    { type: 'rule', priority: FIRST_PRIORITY + one.number, table, from: `${one.address}/32` },
  ];
}
