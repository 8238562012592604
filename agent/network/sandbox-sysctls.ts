/** PURE. Settings of the devices in a sandbox, which somebody may change behind the agent's back. */
import type { HasIpv6 } from '../../shared/lib/network-ipv6.ts';
import type { KernelObject } from './kernel-object.ts';

type Settings = readonly (readonly [name: string, value: string])[];

/** A device has them from the namespace's `default`: so they cost nothing when it is made. */
export const LINK_SYSCTLS: Settings = [
  ['forwarding', '1'],
  ['rp_filter', '0'],
];
/** The container asks for the addresses of its network there. */
export const PORT_SYSCTLS: Settings = [...LINK_SYSCTLS, ['proxy_arp', '1']];

/** Else the answer to a first packet's ARP request waits up to 0.8 s. Not inherited by new devices. */
export const proxyDelay = (dev: string): string => `ipv4/neigh/${dev}/proxy_delay`;

const pathOf = (dev: string, name: string): string => `ipv4/conf/${dev}/${name}`;
const noIpv6 = (dev: string): string => `ipv6/conf/${dev}/disable_ipv6`;

/** What is read back, as patterns: of containers' devices, the tunnel and the uplink. */
export const DEVICE_SYSCTLS: readonly string[] = [
  proxyDelay('c*'),
  ...LINK_SYSCTLS.map(([name]) => pathOf('[cuv]*', name)),
  pathOf('c*', 'proxy_arp'),
  noIpv6('[cuv]*'),
];

/** Those of one device. Without IPv6 of the network's nobody needs to know whether the device has it. */
export function deviceSysctls({ subnet6 }: HasIpv6, dev: string, settings: Settings): KernelObject[] {
  const born = true as const;
  return [
    ...settings.map(
      ([name, value]): KernelObject => ({ type: 'sysctl', path: pathOf(dev, name), value, born }),
    ),
    ...(subnet6 === undefined
      ? []
      : [{ type: 'sysctl', path: noIpv6(dev), value: '0', born } satisfies KernelObject]),
  ];
}
