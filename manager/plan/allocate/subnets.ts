/** Subnets, gateways and tunnel numbers of networks. */
import type { Cidr } from '../../../shared/lib/cidr.ts';
import {
  cidrContains,
  cidrSize,
  cidrsOverlap,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
} from '../../../shared/lib/cidr.ts';
import { type Subnet, subnetsOf } from '../../../shared/lib/network-subnets.ts';
import { outsideOf } from '../../../shared/lib/network-outside.ts';
import type { Network, NodeDescription } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';
import { mayHaveIpv6, Subnets6 } from './subnets6.ts';

export const FIRST_VNI = 4096;
const LAST_VNI = 2 ** 24 - 1;
const INGRESS_BITS = 16;

type Allocation = NonNullable<Network['allocation']>;
type Result = { readonly allocation: Allocation } | { readonly error: string };

interface Taken {
  readonly subnet: Cidr;
  /** Who has it, for messages. */
  readonly owner: string;
}

/**
 * Networks that have to be written: those that had no allocation, and ingress when it does not exist or can get its IPv6.
 * Nothing is given before the first node has said which addresses are its own: nobody needs a network earlier.
 */
export function allocateNetworks(view: View, now: number): Network[] {
  if (![...view.nodes.values()].some((node) => node.description !== undefined)) return [];
  const open = [...view.networks.values()].filter(
    (network) => network.allocation === undefined || lacksIpv6(network, view),
  );
  if (!view.networks.has(INGRESS_NETWORK_ID)) open.unshift(ingressNetwork(now));
  if (open.length === 0) return [];
  const others = subnetsOfNetworks(view);
  const taken = [...others, ...subnetsOfNodes(view)];
  const vnis = new Set<number>();
  for (const { allocation } of view.networks.values()) if (allocation !== undefined) vnis.add(allocation.vni);
  const cursor = { next: nextSubnet(view) };
  const subnets6 = new Subnets6(view);
  const changed: Network[] = [];
  for (const network of open.sort(givenFirst)) {
    const ipv4 =
      network.allocation === undefined
        ? allocateOne(view, network, isOutside(network) ? others : taken, vnis, cursor)
        : { allocation: network.allocation };
    const result = 'allocation' in ipv4 ? subnets6.complete(network, ipv4.allocation) : ipv4;
    if ('allocation' in result) {
      const given =
        network.allocation === undefined ? subnetsOfNetwork(network.spec.name, result.allocation) : [];
      taken.push(...given);
      others.push(...given);
      vnis.add(result.allocation.vni);
      const { error: _cleared, ...rest } = network;
      changed.push({ ...rest, allocation: result.allocation });
    } else if (result.error !== network.error) changed.push({ ...network, error: result.error });
  }
  return changed;
}

/** Ingress of a cluster that is older than its IPv6. */
function lacksIpv6({ spec, allocation }: Network, view: View): boolean {
  return spec.ingress && allocation !== undefined && allocation.subnet6 === undefined && mayHaveIpv6(view);
}

/** Subnets that users chose come before those that are free to move; then in order of age. */
function givenFirst(a: Network, b: Network): number {
  const rank = (network: Network): number =>
    network.spec.subnet !== undefined ? 0 : network.id === INGRESS_NETWORK_ID ? 1 : 2;
  return rank(a) - rank(b) || a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1);
}

function ingressNetwork(now: number): Network {
  return {
    id: INGRESS_NETWORK_ID,
    createdAtMs: now,
    spec: {
      name: 'ingress',
      labels: {},
      driver: 'overlay',
      internal: false,
      attachable: false,
      ingress: true,
      driverOptions: {},
    },
  };
}

/** It is where a subnet is used already, by the nodes themselves too: nothing of theirs is taken by it. */
function isOutside({ spec }: Network): boolean {
  return spec.subnet !== undefined && outsideOf(spec) !== undefined;
}

function subnetsOfNetworks({ networks }: View): Taken[] {
  return [...networks.values()].flatMap(({ allocation, spec }) =>
    allocation === undefined ? [] : subnetsOfNetwork(spec.name, allocation),
  );
}

function subnetsOfNodes({ nodes }: View): Taken[] {
  return [...nodes.values()].flatMap(({ description }) =>
    description === undefined ? [] : subnetsOfNode(description),
  );
}

function subnetsOfNetwork(name: string, allocation: Allocation): Taken[] {
  return subnetsOf(allocation).map(({ subnet }) => ({
    subnet: parseCidr(subnet),
    owner: `network ${name}`,
  }));
}

/** An overlay there would take the node's own traffic. */
function subnetsOfNode({ address, hostname, localSubnets }: NodeDescription): Taken[] {
  const own = localSubnets
    .filter((text) => !text.includes(':'))
    .map((text) => ({
      subnet: parseCidr(text),
      owner: `${text}, which node ${hostname} reaches without Shoal`,
    }));
  if (address.includes(':')) return own;
  const subnet = { base: parseAddress(address), bits: 32 };
  return [{ subnet, owner: `the address of node ${hostname}` }, ...own];
}

function allocateOne(
  view: View,
  network: Network,
  taken: readonly Taken[],
  vnis: ReadonlySet<number>,
  cursor: { next: number },
): Result {
  const vni = freeVni(vnis);
  if (vni === undefined) return { error: 'no free VXLAN network identifier' };
  const { subnet: given, gateway, moreSubnets } = network.spec;
  if (given !== undefined)
    return givenSubnets([{ subnet: given, gateway }, ...(moreSubnets ?? [])], taken, vni);
  const subnet =
    network.id === INGRESS_NETWORK_ID ? ingressSubnet(taken) : freeSubnet(view.cluster, taken, cursor);
  if (subnet === undefined) return { error: `no free subnet in ${view.cluster.addressPool}` };
  return { allocation: { subnet: formatCidr(subnet), gateway: formatAddress(subnet.base + 1), vni } };
}

interface Given {
  readonly subnet: string;
  readonly gateway?: string | undefined;
}

/** All of them, or none with the reason. */
function givenSubnets(given: readonly Given[], taken: readonly Taken[], vni: number): Result {
  const all = [...taken];
  const subnets: Subnet[] = [];
  for (const one of given) {
    const result = givenSubnet(one, all);
    if (typeof result === 'string') return { error: result };
    subnets.push(result);
    all.push({ subnet: parseCidr(result.subnet), owner: `subnet ${one.subnet} of the same network` });
  }
  const [first, ...moreSubnets] = subnets;
  if (first === undefined) return { error: 'it has no subnet' };
  return { allocation: { ...first, vni, ...(moreSubnets.length === 0 ? {} : { moreSubnets }) } };
}

function givenSubnet({ subnet: text, gateway: wanted }: Given, taken: readonly Taken[]): Subnet | string {
  let subnet: Cidr;
  let gateway: number;
  try {
    subnet = parseCidr(text);
    gateway = wanted === undefined ? subnet.base + 1 : parseAddress(wanted);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  if (subnet.bits > 30) return `subnet ${text} is too small`;
  if (!cidrContains(subnet, gateway)) return `gateway ${wanted} is not inside of subnet ${text}`;
  const other = taken.find((entry) => cidrsOverlap(entry.subnet, subnet));
  if (other !== undefined) return `subnet ${text} overlaps with ${other.owner}`;
  return { subnet: formatCidr(subnet), gateway: formatAddress(gateway) };
}

function freeVni(vnis: ReadonlySet<number>): number | undefined {
  let next = FIRST_VNI;
  for (const vni of vnis) if (vni >= next) next = vni + 1;
  if (next <= LAST_VNI) return next;
  for (let vni = FIRST_VNI; vni <= LAST_VNI; vni += 1) if (!vnis.has(vni)) return vni;
  return undefined;
}

/** 10.255.0.0/16, or the nearest sixteen-bit neighbour of it that nothing else uses. */
function ingressSubnet(taken: readonly Taken[]): Cidr | undefined {
  const candidates: Cidr[] = [];
  for (let second = 255; second >= 0; second -= 1) candidates.push(block(10, second));
  for (let second = 31; second >= 16; second -= 1) candidates.push(block(172, second));
  return candidates.find((subnet) => !taken.some((entry) => cidrsOverlap(entry.subnet, subnet)));
}

function block(first: number, second: number): Cidr {
  return { base: first * 2 ** 24 + second * 2 ** 16, bits: INGRESS_BITS };
}

/** After the highest that the pool has given, so that a freed subnet rests before it is used again. */
function nextSubnet({ cluster, networks }: View): number {
  const pool = parseCidr(cluster.addressPool);
  let next = pool.base;
  for (const { allocation, id, spec } of networks.values()) {
    if (allocation === undefined || id === INGRESS_NETWORK_ID || spec.subnet !== undefined) continue;
    const subnet = parseCidr(allocation.subnet);
    if (cidrContains(pool, subnet.base)) next = Math.max(next, subnet.base + cidrSize(subnet));
  }
  return next;
}

function freeSubnet(
  cluster: View['cluster'],
  taken: readonly Taken[],
  cursor: { next: number },
): Cidr | undefined {
  const pool = parseCidr(cluster.addressPool);
  const size = 2 ** (32 - cluster.subnetBits);
  const end = pool.base + cidrSize(pool);
  const start = cursor.next >= pool.base && cursor.next + size <= end ? cursor.next : pool.base;
  const blockers = taken
    .map(({ subnet }) => ({ from: subnet.base, to: subnet.base + cidrSize(subnet) }))
    .sort((a, b) => a.from - b.from);
  const base =
    gapFrom(blockers, start, end, size, pool.base) ?? gapFrom(blockers, pool.base, end, size, pool.base);
  if (base === undefined) return undefined;
  cursor.next = base + size;
  return { base, bits: cluster.subnetBits };
}

/** The first aligned block of `size` addresses in [start, end) that no blocker touches. */
function gapFrom(
  blockers: readonly { readonly from: number; readonly to: number }[],
  start: number,
  end: number,
  size: number,
  origin: number,
): number | undefined {
  const align = (at: number): number => origin + Math.ceil((at - origin) / size) * size;
  let at = align(start);
  for (const { from, to } of blockers) {
    if (to <= at) continue;
    if (from >= at + size) break;
    at = align(to);
  }
  return at + size <= end ? at : undefined;
}
