/** What a container's own network namespace gets, once, before its first process starts. */
import { readBandwidth } from '../../shared/lib/bandwidth.ts';
import { prefixBits, subnetOf, subnetsOf } from '../../shared/lib/network-subnets.ts';
import { address6, prefixed6 } from '../../shared/lib/network-ipv6.ts';
import type { NetworkAssignment, PublishedPort, TaskAssignment } from '../../shared/model/index.ts';
import { type KernelObject, MAIN_TABLE } from './kernel-object.ts';
import { CONTAINER_ADDRESS6, PORT_ADDRESS6 } from './names.ts';

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
  /** All else leaves by it, whatever the priorities. */
  readonly before?: true;
  /** Datagrams come by it that programs answer without saying from where. */
  readonly answersDatagrams?: true;
}

/** eth0, eth1, ... by the numbers of the task's addresses; networks that are not known are left out. */
export function interfacesOf(
  task: TaskAssignment,
  networks: ReadonlyMap<string, NetworkAssignment>,
): Interface[] {
  return task.addresses.flatMap(({ address, network: networkId, device }, index) => {
    const network = networks.get(networkId);
    const number = device ?? index;
    const attachment = task.spec.networks.find((one) => one.network === networkId);
    const priority = attachment?.wayOutPriority ?? 0;
    if (network === undefined) return [];
    const publishes = network.ingress ? new Set(task.spec.ports.flatMap(protocolOfIngress)) : new Set();
    return [
      {
        dev: `eth${number}`,
        number,
        address,
        network,
        priority,
        ...(publishes.has('sctp') ? { before: true as const } : {}),
        ...(publishes.has('udp') ? { answersDatagrams: true as const } : {}),
      },
    ];
  });
}

function protocolOfIngress({ protocol, mode }: PublishedPort): string[] {
  return mode === 'ingress' ? [protocol] : [];
}

/** The way out, and to names: the network that has one, is not ingress and comes first by priority; else ingress, else the first at all. */
export function defaultInterface(interfaces: readonly Interface[]): Interface | undefined {
  const [first] = interfaces
    .filter(({ network }) => !network.internal && !network.ingress)
    .toSorted((a, b) => b.priority - a.priority);
  return first ?? interfaces.find(({ network }) => network.ingress) ?? interfaces[0];
}

/**
 * Where what has no other route leaves. A program with SCTP answers from the address of the way to its client, not from the
 * one that was asked: so for it the way of published ports is the way out, whatever the priorities. A datagram that answers
 * one to a published port bears the address of that interface, unless the program says another: so it is ingress for those
 * who publish such ports and do not ask for another way.
 */
export function wayOutOf(interfaces: readonly Interface[]): Interface | undefined {
  const always = interfaces.find(({ before }) => before === true);
  if (always !== undefined) return always;
  const usual = defaultInterface(interfaces);
  if (usual !== undefined && usual.priority > 0) return usual;
  return interfaces.find(({ answersDatagrams }) => answersDatagrams === true) ?? usual;
}

/**
 * Addresses, routes and rules. With several networks an answer leaves by the interface whose address it bears: a
 * published connection shows its client's own address, and must be answered through ingress. `bytesPerSecond`: how much
 * each may send.
 */
export function containerObjects(interfaces: readonly Interface[], bytesPerSecond?: number): KernelObject[] {
  const way = wayOutOf(interfaces);
  const ipv6 = interfaces.filter(({ network }) => network.subnet6 !== undefined);
  const way6 = wayOutOf(ipv6);
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
    ...(way === undefined ? [] : [defaultRoute(way, MAIN_TABLE)]),
    ...(way6 === undefined ? [] : [defaultRoute6(way6, MAIN_TABLE)]),
    ...(interfaces.length > 1 ? [...interfaces.flatMap(sourceObjects), ...ipv6.flatMap(sourceObjects6)] : []),
    ...(bytesPerSecond === undefined
      ? []
      : interfaces.map(({ dev }): KernelObject => ({ type: 'rate', dev, bytesPerSecond }))),
  ];
}

/** Before the address: the device has those that it is given, and no others. */
const IPV6: readonly (readonly [string, string])[] = [
  ['addr_gen_mode', '1'],
  ['accept_dad', '0'],
  ['accept_ra', '0'],
  ['accept_redirects', '0'],
  ['disable_ipv6', '0'],
];

/** What is read back of a container's devices, as patterns. */
export const CONTAINER_SYSCTLS: readonly string[] = IPV6.map(([name]) => `ipv6/conf/eth*/${name}`);

/** All of the subnet by the sandbox: nothing of it is on the interface's wire. */
function ipv6Objects({ dev, address, network }: Interface): KernelObject[] {
  const own = prefixed6(network, address);
  if (own === undefined || network.subnet6 === undefined) return [];
  return [
    ...IPV6.map(
      ([name, value]): KernelObject => ({ type: 'sysctl', path: `ipv6/conf/${dev}/${name}`, value }),
    ),
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
  const own = subnetOf(network, address);
  return subnetsOf(network)
    .filter(({ subnet }) => subnet !== own.subnet)
    .map(({ subnet }) => ({ type: 'route', dst: subnet, table: MAIN_TABLE, dev, via: own.gateway }));
}

function defaultRoute({ dev, address, network }: Interface, table: number): KernelObject {
  return { type: 'route', dst: '0.0.0.0/0', table, dev, via: subnetOf(network, address).gateway };
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
    defaultRoute(one, table),
    { type: 'rule', priority: FIRST_PRIORITY + one.number, table, from: `${one.address}/32` },
  ];
}
