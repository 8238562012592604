/** IPv4 subnets as numbers: enough arithmetic for allocation and routes. Addresses are unsigned 32-bit. */
import { Address4 } from 'ip-address';

export interface Cidr {
  /** First address of the subnet (host bits cleared). */
  readonly base: number;
  readonly bits: number;
}

/** Throws TypeError for what is no dotted IPv4 address. */
export function parseAddress(text: string): number {
  if (!Address4.isValid(text) || text.includes('/')) throw new TypeError(`not an IPv4 address: ${text}`);
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** Whether it is an address as it is written here. */
export function isAddress(text: string): boolean {
  try {
    return formatAddress(parseAddress(text)) === text;
  } catch {
    return false;
  }
}

/** Throws TypeError for what is no IPv4 CIDR. Host bits are cleared. */
export function parseCidr(text: string): Cidr {
  const [address, bits] = text.split('/');
  const length = Number(bits);
  if (address === undefined || bits === undefined || !/^\d{1,2}$/.test(bits) || length > 32) {
    throw new TypeError(`not an IPv4 CIDR: ${text}`);
  }
  return { base: (parseAddress(address) & maskOf(length)) >>> 0, bits: length };
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr.base)}/${cidr.bits}`;
}

/** Number of addresses in the subnet, network and broadcast included. */
export function cidrSize(cidr: Cidr): number {
  return 2 ** (32 - cidr.bits);
}

export function cidrContains(cidr: Cidr, address: number): boolean {
  return (address & maskOf(cidr.bits)) >>> 0 === cidr.base;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  const bits = Math.min(a.bits, b.bits);
  return (a.base & maskOf(bits)) >>> 0 === (b.base & maskOf(bits)) >>> 0;
}

function maskOf(bits: number): number {
  return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
}
