/** IPv6 subnets as numbers. Addresses are unsigned 128-bit; texts are written as the kernel writes them (RFC 5952). */
import { Address6 } from 'ip-address';

export interface Cidr6 {
  /** First address of the subnet (host bits cleared). */
  readonly base: bigint;
  readonly bits: number;
}

const BITS = 128;
const GROUPS = 8;

/** Throws TypeError for what is no IPv6 address. */
export function parseAddress6(text: string): bigint {
  if (!/^[0-9a-fA-F:.]+$/.test(text) || !Address6.isValid(text))
    throw new TypeError(`not an IPv6 address: ${text}`);
  return new Address6(text).bigInt();
}

/** Lower case, the longest run of two zero groups or more cut out, the first of several. */
export function formatAddress6(address: bigint): string {
  const groups = Array.from({ length: GROUPS }, (_, i) =>
    Number((address >> BigInt(16 * (GROUPS - 1 - i))) & 0xffffn).toString(16),
  );
  let [start, length] = [0, 0];
  for (let i = 0; i < GROUPS; i += 1) {
    let end = i;
    while (end < GROUPS && groups[end] === '0') end += 1;
    if (end - i > length) [start, length] = [i, end - i];
    i = Math.max(i, end - 1);
  }
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

/** Throws TypeError for what is no IPv6 CIDR. Host bits are cleared. */
export function parseCidr6(text: string): Cidr6 {
  const [address, bits, more] = text.split('/');
  const length = Number(bits);
  if (
    address === undefined ||
    bits === undefined ||
    more !== undefined ||
    !/^\d{1,3}$/.test(bits) ||
    length > BITS
  )
    throw new TypeError(`not an IPv6 CIDR: ${text}`);
  return { base: parseAddress6(address) & maskOf(length), bits: length };
}

export function formatCidr6({ base, bits }: Cidr6): string {
  return `${formatAddress6(base)}/${bits}`;
}

export function cidr6Size({ bits }: Cidr6): bigint {
  return 1n << BigInt(BITS - bits);
}

export function cidr6Contains({ base, bits }: Cidr6, address: bigint): boolean {
  return (address & maskOf(bits)) === base;
}

export function cidrs6Overlap(a: Cidr6, b: Cidr6): boolean {
  const mask = maskOf(Math.min(a.bits, b.bits));
  return (a.base & mask) === (b.base & mask);
}

function maskOf(bits: number): bigint {
  return ((1n << BigInt(bits)) - 1n) << BigInt(BITS - bits);
}
