/** PURE. What the rules of both families differ in, in nft's language. */
import { address6, type HasIpv6 } from '../../shared/lib/network-ipv6.ts';
import type { Backends } from './balance.ts';
import { SANDBOX_TABLE } from './names.ts';

export interface Family {
  readonly ip: 'ip' | 'ip6';
  /** The table in a sandbox. */
  readonly table: string;
  readonly type: 'ipv4_addr' | 'ipv6_addr';
  readonly icmp: 'icmp' | 'ipv6-icmp';
  /** How to say that nobody has an address, and that nobody may. */
  readonly noHost: string;
  readonly prohibited: string;
  /** What a host has for itself alone. */
  readonly loopback: string;
  readonly everything: string;
}

export const IPV4: Family = {
  ip: 'ip',
  table: SANDBOX_TABLE,
  type: 'ipv4_addr',
  icmp: 'icmp',
  noHost: 'icmp host-unreachable',
  prohibited: 'icmp admin-prohibited',
  loopback: '127.0.0.0/8',
  everything: '0.0.0.0/0',
};

export const IPV6: Family = {
  ip: 'ip6',
  table: `ip6 ${SANDBOX_TABLE}`,
  type: 'ipv6_addr',
  icmp: 'ipv6-icmp',
  noHost: 'icmpv6 addr-unreachable',
  prohibited: 'icmpv6 admin-prohibited',
  loopback: '::1',
  everything: '::/0',
};

/** A table of this name. */
export function tableIn({ ip }: Family, name: string): string {
  return ip === 'ip' ? name : `ip6 ${name}`;
}

export function familiesOf({ subnet6 }: HasIpv6): readonly Family[] {
  return subnet6 === undefined ? [IPV4] : [IPV4, IPV6];
}

/** In that family, the addresses of who has these IPv4 ones. */
export function inFamily({ ip }: Family, network: HasIpv6, addresses: readonly string[]): readonly string[] {
  return ip === 'ip' ? addresses : addresses.flatMap((address) => address6(network, address) ?? []);
}

/** The same backends, by the addresses that they have in that family. */
export function backendsIn(family: Family, network: HasIpv6, { own, canaries }: Backends): Backends {
  return {
    own: inFamily(family, network, own),
    canaries: canaries.map(({ share, members }) => ({ share, members: inFamily(family, network, members) })),
  };
}
