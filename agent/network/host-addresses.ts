/** PURE. Addresses of this machine on which a port may be published, as managers are told. */
import { formatAddress6, parseAddress6 } from '../../shared/lib/cidr6.ts';
import { isLocalhost } from '../../shared/lib/host-address.ts';
import type { NamespaceDump } from './observe.ts';

/** Shoal's own devices, other clusters' too. */
const OWN_DEVICE = /^s[uw][0-9a-f]{6}/;

/** Each once, sorted; without those that every machine has, or that are not routed. Undefined when there are more than `limit`. */
export function hostAddresses(
  { addresses }: Pick<NamespaceDump, 'addresses'>,
  limit: number,
): string[] | undefined {
  const found = new Set<string>();
  for (const { dev, address } of addresses) {
    if (address === undefined || OWN_DEVICE.test(dev)) continue;
    const text = canonical(address.split('/')[0] ?? '');
    if (!isLocalhost(text) && !isLinkLocal6(text)) found.add(text);
  }
  return found.size > limit ? undefined : [...found].toSorted();
}

function canonical(address: string): string {
  return address.includes(':') ? formatAddress6(parseAddress6(address)) : address;
}

function isLinkLocal6(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(address);
}
