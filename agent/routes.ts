/** PURE. The kernel's routes as /proc/net/route and /proc/net/ipv6_route print them (proc(5)). */
import { formatAddress, formatCidr } from '../shared/lib/cidr.ts';
import { formatCidr6 } from '../shared/lib/cidr6.ts';

/** Destinations as CIDRs, without the default route. Addresses are little-endian hexadecimal. */
export function parseRoutes(text: string): string[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, destination, , , , , , mask] = line.split(/\s+/);
      if (destination === undefined || mask === undefined) return [];
      const bits = setBits(littleEndian(mask));
      return bits === 0 ? [] : [formatCidr({ base: littleEndian(destination), bits })];
    });
}

/** The same of IPv6: 32 digits in their order. Link-local ones, multicast, and what leads to the machine itself or to sandboxes, are none. */
export function parseRoutes6(text: string): string[] {
  const routes = text.split('\n').flatMap((line) => {
    const [destination = '', length = '', , , , , , , , device] = line.trim().split(/\s+/);
    const bits = Number.parseInt(length, 16);
    const isOwn =
      device === undefined || /^(lo|su[0-9a-f]{7,})$/.test(device) || /^(fe[89ab]|ff)/.test(destination);
    if (isOwn || bits === 0) return [];
    return [formatCidr6({ base: BigInt(`0x${destination}`), bits })];
  });
  return [...new Set(routes)];
}

function littleEndian(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE(0);
}

function setBits(mask: number): number {
  return formatAddress(mask)
    .split('.')
    .reduce((sum, byte) => sum + Number(byte).toString(2).replaceAll('0', '').length, 0);
}
