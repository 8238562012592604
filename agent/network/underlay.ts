/** What this machine's own network carries. */
import { existsSync } from 'node:fs';
import { IPV6_LEAST_MTU } from '../../shared/lib/network-ipv6.ts';
import { dumpNamespace } from '../native/network.ts';
import { TUNNEL_OVERHEAD } from './names.ts';
import type { NamespaceDump } from './observe.ts';

/** Not where it was started with ipv6.disable=1. */
export const KERNEL_HAS_IPV6 = existsSync('/proc/sys/net/ipv6');
const DEFAULT_UNDERLAY_MTU = 1500;

/** Of the device with this address. */
export function underlayMtu(
  { addresses, links }: Pick<NamespaceDump, 'addresses' | 'links'>,
  address: string | undefined,
): number {
  const dev = addresses.find((entry) => entry.address?.split('/')[0] === address)?.dev;
  return links.find((link) => link.name === dev)?.mtu ?? DEFAULT_UNDERLAY_MTU;
}

/** Whether overlays of a node with this address can have IPv6. */
export async function canHaveIpv6(address: string): Promise<boolean> {
  if (!KERNEL_HAS_IPV6) return false;
  const dump = (await dumpNamespace(null, [])) as NamespaceDump;
  return underlayMtu(dump, address) - TUNNEL_OVERHEAD >= IPV6_LEAST_MTU;
}
