/** The addresses of nodes on which a port is published. */
import { formatAddress6, parseAddress6 } from './cidr6.ts';

const WHAT =
  'an address of the nodes is expected (127.0.0.1 or ::1 for their localhost, 0.0.0.0 or :: for all of a family)';

/**
 * Nothing is all addresses: undefined. `0.0.0.0` is all of IPv4, `::` all of IPv6. A text that is none gives what is wrong
 * with it.
 */
export function readHostAddress(
  text: string,
): { readonly hostIp: string | undefined } | { readonly problem: string } {
  if (text === '') return { hostIp: undefined };
  if (text.includes(':')) return readIpv6(text);
  if (text === '0.0.0.0') return { hostIp: text };
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  const parts = match?.slice(1).map(Number) ?? [];
  const [first = 0] = parts;
  if (parts.some((part) => part > 255) || first === 0 || first >= 224) return { problem: WHAT };
  return { hostIp: parts.join('.') };
}

function readIpv6(text: string): { readonly hostIp: string } | { readonly problem: string } {
  let address: bigint;
  try {
    address = parseAddress6(text);
  } catch {
    return { problem: WHAT };
  }
  const first = Number(address >> 112n);
  if (address >> 32n === 0xffffn) return { problem: `${WHAT}: an IPv4 address is written as one` };
  if (first >= 0xff00) return { problem: `${WHAT}: multicast is none` };
  if (first >> 6 === 0xfe80 >> 6) return { problem: `${WHAT}: a link-local address is not routed` };
  return { hostIp: formatAddress6(address) };
}

/** One that every node has for itself alone. */
export function isLocalhost(hostIp: string): boolean {
  return hostIp === '::1' || hostIp.startsWith('127.');
}

/** All addresses of one family. */
export function isWildcard(hostIp: string): boolean {
  return hostIp === '0.0.0.0' || hostIp === '::';
}

/** Whether what is published there answers to addresses of this family. */
export function publishesOn(hostIp: string | undefined, family: 'ip' | 'ip6'): boolean {
  return hostIp === undefined || hostIp.includes(':') === (family === 'ip6');
}
