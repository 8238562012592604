/** PURE. Addresses of published ports that nodes of older versions do not know, as keys of shared/wire/spec-keys.ts. */
import { isWildcard } from './host-address.ts';

const ALL_OF_IPV4 = 'ports.hostIp=0.0.0.0';
const IPV6 = 'ports.hostIp=IPv6';
export const NEW_ADDRESS_KEYS: readonly string[] = [ALL_OF_IPV4, IPV6];

/** Undefined: every version knows it. */
export function newAddressKey(hostIp: string | undefined): string | undefined {
  if (hostIp === undefined) return undefined;
  if (hostIp.includes(':')) return IPV6;
  return isWildcard(hostIp) ? ALL_OF_IPV4 : undefined;
}
