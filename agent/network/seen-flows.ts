/**
 * PURE. The kernel's own note of the backends that UDP flows were led to: what stopped serving is looked for among all flows
 * of the machine only where there was one. Rules fill the set, a packet of each flow passing them; the native library
 * empties it (`seen` of ct-flush), and puts the unspecified address in while the set has all there are.
 */
import type { Family } from './family.ts';
import type { KernelObject } from './kernel-object.ts';

/** In a sandbox's and the host's table, of each family. */
export const SEEN = 'udp_seen';

/** Room for it is taken at once, 16 KiB. With more backends than that all flows are gone through, each time. */
const SIZE = 1024;

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

export function seenSet({ type }: Family, table: string): KernelObject {
  return { type: 'set', table, name: SEEN, of: `${type}; size ${SIZE}; flags dynamic` };
}

/** For a chain of type nat in postrouting, where the destination is the backend: `where` goes before, e.g. the device. */
export function seenRules({ ip }: Family, where = ''): string[] {
  const led = `${where}meta l4proto udp ct status dnat`;
  const nothing = ip === 'ip' ? '0.0.0.0' : '::';
  return [
    `${led} add @${SEEN} { ${ip} daddr }`,
    // it was full: that it has all is true no more
    `${led} ${ip} daddr != @${SEEN} delete @${SEEN} { ${ip} daddr & ${nothing} }`,
  ];
}

/** What a set of this name has, as it is read back: the mark is no address of a backend. */
export function seenAddresses(elements: readonly unknown[]): string[] {
  return elements.filter((one): one is string => typeof one === 'string' && !UNSPECIFIED.has(one));
}
