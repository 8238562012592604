/**
 * IPv6 of a network. An address is not given apart: the place that an IPv4 address has in the network's IPv4 subnets is
 * the one that its IPv6 address has in the IPv6 subnet. So whatever has the one has the other, from the first moment to the last.
 */
import { cidrContains, cidrSize, formatAddress, parseAddress, parseCidr } from './cidr.ts';
import {
  type Cidr6,
  cidr6Contains,
  cidr6Size,
  cidrs6Overlap,
  formatAddress6,
  formatCidr6,
  parseCidr6,
} from './cidr6.ts';
import { type HasSubnets, subnetsOf } from './network-subnets.ts';

export interface HasIpv6 extends HasSubnets {
  /** Absent: the network has IPv4 alone. */
  readonly subnet6?: string;
}

/** The least MTU that IPv6 has (RFC 8200, 5). */
export const IPV6_LEAST_MTU = 1280;

const WIDEST = 16;
const NARROWEST = 125;
/** Unique local addresses (RFC 4193) whose forty bits are the letters of shoal: what sandboxes have between themselves. */
export const SHOAL_SUBNET6 = 'fd73:686f:616c::/48';

/** What networks can not have, and why. */
const RESERVED: readonly (readonly [string, string])[] = [
  ['::/16', 'it is for addresses with a meaning of their own'],
  ['fe80::/10', 'link-local addresses are not routed'],
  ['ff00::/8', 'multicast is not routed'],
  [SHOAL_SUBNET6, "it is that of the nodes' own ways"],
];

/** The IPv6 address of who has this IPv4 address; undefined on a network without IPv6. */
export function address6(network: HasIpv6, address: string): string | undefined {
  if (network.subnet6 === undefined) return undefined;
  const number = parseAddress(address);
  let before = 0;
  for (const { subnet } of subnetsOf(network)) {
    const cidr = parseCidr(subnet);
    if (cidrContains(cidr, number))
      return formatAddress6(parseCidr6(network.subnet6).base + BigInt(before + number - cidr.base));
    before += cidrSize(cidr);
  }
  return undefined;
}

/** With the length of its prefix. */
export function prefixed6(network: HasIpv6, address: string): string | undefined {
  const own = address6(network, address);
  return own === undefined ? undefined : `${own}/${prefix6Bits(network)}`;
}

export function prefix6Bits({ subnet6 }: HasIpv6): number {
  return subnet6 === undefined ? 0 : parseCidr6(subnet6).bits;
}

/** The gateway's. */
export function gateway6(network: HasIpv6): string | undefined {
  return address6(network, network.gateway);
}

/** The IPv4 address to which an IPv6 address belongs; undefined: to none of the network. */
export function address4(network: HasIpv6, address: bigint): string | undefined {
  if (network.subnet6 === undefined) return undefined;
  const cidr6 = parseCidr6(network.subnet6);
  if (!cidr6Contains(cidr6, address)) return undefined;
  let place = address - cidr6.base;
  for (const { subnet } of subnetsOf(network)) {
    const cidr = parseCidr(subnet);
    const size = BigInt(cidrSize(cidr));
    if (place < size) return formatAddress(cidr.base + Number(place));
    place -= size;
  }
  return undefined;
}

/** What is wrong with an IPv6 subnet that a user chose. */
export function subnet6Problem(text: string): string | undefined {
  try {
    const cidr = parseCidr6(text);
    if (cidr.bits < WIDEST || cidr.bits > NARROWEST)
      return `subnet ${text}: a prefix from /${WIDEST} to /${NARROWEST} is expected`;
    const reserved = RESERVED.find(([subnet]) => cidrs6Overlap(parseCidr6(subnet), cidr));
    return reserved === undefined
      ? undefined
      : `subnet ${text}: ${reserved[0]} can not be used: ${reserved[1]}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why the IPv6 subnet has no room for the IPv4 ones; undefined: it has. */
export function roomProblem(network: HasSubnets, text: string): string | undefined {
  const size = subnetsOf(network).reduce((sum, { subnet }) => sum + BigInt(cidrSize(parseCidr(subnet))), 0n);
  if (cidr6Size(parseCidr6(text)) >= size) return undefined;
  const list = subnetsOf(network).map(({ subnet }) => subnet);
  return `subnet ${text} is smaller than ${list.join(' and ')}: each IPv4 address has an IPv6 one in it`;
}

/**
 * A /64 of a cluster's own range: fd and forty bits that follow from its id (RFC 4193, 3.2.2), then the network's number.
 */
export function uniqueLocalSubnet(clusterId: string, number: number): Cidr6 {
  // FNV-1a, of 64 bits, folded to forty.
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < clusterId.length; i += 1)
    hash = ((hash ^ BigInt(clusterId.charCodeAt(i))) * 0x100000001b3n) & 0xffffffffffffffffn;
  const global = (hash ^ (hash >> 40n)) & 0xffffffffffn;
  const base = (0xfdn << 120n) | (global << 80n) | (BigInt(number & 0xffff) << 64n);
  return { base, bits: 64 };
}

/** As the kernel writes it, its host bits cleared. Throws TypeError. */
export function normalSubnet6(text: string): string {
  return formatCidr6(parseCidr6(text));
}
