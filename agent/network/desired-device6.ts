/** PURE. A device with IPv6 of ours: it has the addresses that it is given, and no others. */

const SETTINGS = [
  ['addr_gen_mode', '1'],
  ['accept_dad', '0'],
  ['accept_ra', '0'],
  ['accept_redirects', '0'],
  ['disable_ipv6', '0'],
] as const;

/** Paths and values, in their order: to be set before the first address. The last one turns IPv6 on. */
export function deviceSysctls6(dev: string): readonly (readonly [path: string, value: string])[] {
  return SETTINGS.map(([name, value]) => [`ipv6/conf/${dev}/${name}`, value]);
}
