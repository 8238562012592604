/** The subnets that users give a network: several of IPv4, and one of IPv6. */
import type { NetworkSpec, SubnetChoice } from '../model/network.ts';
import { cidr6Contains, formatAddress6, parseAddress6, parseCidr6 } from './cidr6.ts';
import { formatAddress, parseCidr } from './cidr.ts';
import { gateway6 as gatewayOf, roomProblem, subnet6Problem } from './network-ipv6.ts';
import { choicesOf } from './subnet-choice.ts';

type Subnets = Pick<NetworkSpec, keyof SubnetChoice | 'moreSubnets' | 'subnet6' | 'gateway6'>;

/** A text is what is wrong with them. What each says is not looked at. */
export function splitPools(pools: readonly Partial<SubnetChoice>[]): Subnets | string {
  const isIpv6 = ({ subnet, gateway }: Partial<SubnetChoice>): boolean =>
    (subnet ?? gateway ?? '').includes(':');
  const [first = {}, ...more] = pools.filter((pool) => !isIpv6(pool));
  const [first6 = {}, second6] = pools.filter(isIpv6);
  if (more.length > 0 && [first, ...more].some((pool) => pool.subnet === undefined))
    return 'each of several needs a subnet';
  if (second6 !== undefined) return 'a network has one IPv6 subnet';
  if (first6.addressRange !== undefined || first6.reservedAddresses !== undefined)
    return 'an IPv6 subnet has no range or auxiliary addresses of its own: IPv6 addresses follow from the IPv4 ones';
  return {
    ...first,
    ...(more.length === 0 ? {} : { moreSubnets: more as SubnetChoice[] }),
    ...(first6.subnet === undefined ? {} : { subnet6: first6.subnet }),
    ...(first6.gateway === undefined ? {} : { gateway6: first6.gateway }),
  };
}

/** What is wrong with the IPv6 subnet that a user chose, and the gateway in it; the IPv4 ones are right. */
export function choice6Problem(spec: NetworkSpec): string | undefined {
  const { ipv6, subnet6, gateway6 } = spec;
  if (subnet6 === undefined) return gateway6 === undefined ? undefined : 'a gateway needs a subnet';
  if (ipv6 !== true) return `subnet ${subnet6}: the network has no IPv6 unless it is asked for (--ipv6)`;
  const problem = subnet6Problem(subnet6);
  if (problem !== undefined) return problem;
  const subnets = choicesOf(spec).map(({ subnet, gateway }) => ({
    subnet,
    gateway: gateway ?? firstOf(subnet),
  }));
  const [first, ...moreSubnets] = subnets;
  const room = first === undefined ? undefined : roomProblem({ ...first, moreSubnets }, subnet6);
  if (room !== undefined || gateway6 === undefined) return room;
  const own =
    first === undefined
      ? formatAddress6(parseCidr6(subnet6).base + 1n)
      : (gatewayOf({ ...first, moreSubnets, subnet6 }) ?? '');
  return gatewayProblem(subnet6, gateway6, own);
}

function firstOf(subnet: string): string {
  return formatAddress(parseCidr(subnet).base + 1);
}

function gatewayProblem(subnet6: string, gateway6: string, own: string): string | undefined {
  try {
    const address = parseAddress6(gateway6);
    if (!cidr6Contains(parseCidr6(subnet6), address))
      return `gateway ${gateway6} is not in subnet ${subnet6}`;
    return address === parseAddress6(own)
      ? undefined
      : `gateway ${gateway6}: it has the place of the IPv4 gateway: ${own}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
