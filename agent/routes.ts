/** PURE. The kernel's IPv4 routes as /proc/net/route prints them (proc(5)): addresses as little-endian hexadecimal. */
import { formatAddress, formatCidr } from '../shared/lib/cidr.ts';

/** Destinations as CIDRs, without the default route. */
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

function littleEndian(hex: string): number {
  return Buffer.from(hex, 'hex').readUInt32LE(0);
}

function setBits(mask: number): number {
  return formatAddress(mask)
    .split('.')
    .reduce((sum, byte) => sum + Number(byte).toString(2).replaceAll('0', '').length, 0);
}
