/** The subnets of a network: mostly one. */
import { cidrContains, cidrsOverlap, parseAddress, parseCidr } from './cidr.ts';

export interface Subnet {
  readonly subnet: string;
  readonly gateway: string;
}

/** What has subnets: an allocation, or a network as a node gets it. */
export interface HasSubnets extends Subnet {
  readonly moreSubnets?: readonly Subnet[];
}

export function subnetsOf({ subnet, gateway, moreSubnets = [] }: HasSubnets): readonly Subnet[] {
  return [{ subnet, gateway }, ...moreSubnets];
}

/** The one that an address is of. */
export function subnetOf(network: HasSubnets, address: string): Subnet {
  if (network.moreSubnets === undefined) return network;
  const number = parseAddress(address);
  return subnetsOf(network).find(({ subnet }) => cidrContains(parseCidr(subnet), number)) ?? network;
}

/** Length of an address's prefix. */
export function prefixBits(network: HasSubnets, address: string): number {
  return parseCidr(subnetOf(network, address).subnet).bits;
}

/** The first of both that have addresses in common. */
export function overlapOf(
  some: readonly string[],
  others: readonly string[],
): readonly [string, string] | undefined {
  for (const one of some)
    for (const other of others) if (cidrsOverlap(parseCidr(one), parseCidr(other))) return [one, other];
  return undefined;
}
