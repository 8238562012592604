/** What uplinks have of IPv6 on the host, and how it comes to forward it. */
import { deviceSysctls6 } from './desired-device6.ts';
import { type KernelObject, LOCAL_TABLE, MAIN_TABLE } from './kernel-object.ts';
import type { NetworkView, Self } from './local.ts';
import { CONTAINER_ADDRESS6, PORT_ADDRESS6, uplinkAddresses6 } from './names.ts';

/** After the kernel's own. */
const LEAST_METRIC = 2048;
const FORWARDING = 'ipv6/conf/all/forwarding';
const acceptRa = (dev: string): string => `ipv6/conf/${dev}/accept_ra`;

/** Read back, as patterns. */
export const FORWARDING6_SYSCTLS: readonly string[] = [FORWARDING, acceptRa('*')];

/**
 * Devices that take router advertisements as long as the host does not forward (accept_ra=1), by what was read. None when
 * it does already: then it is as its administrator, or an earlier agent, made it.
 */
export function advertisedDevices(sysctls: Readonly<Record<string, string>>): string[] {
  if (sysctls[FORWARDING] !== '0') return [];
  return Object.entries(sysctls).flatMap(([path, value]) => {
    const dev = /^ipv6\/conf\/([^/]+)\/accept_ra$/.exec(path)?.[1];
    return dev === undefined || value !== '1' || dev === 'all' || dev === 'default' ? [] : [dev];
  });
}

/** In this order: a host that forwards drops at once the default routes that it took from devices with accept_ra=1. */
export function forwarding6({ advertised = [] }: Self): KernelObject[] {
  return [
    ...advertised.map((dev): KernelObject => ({ type: 'sysctl', path: acceptRa(dev), value: '2' })),
    { type: 'sysctl', path: FORWARDING, value: '1' },
  ];
}

/**
 * IPv6 has no route_localnet: an answer to what ::1 asked of the mesh comes by the uplink, and the way to ::1 is of lo alone.
 * From outside nothing gets in by it: the kernel drops what comes to ::1 before it is translated back. Its metric tells it
 * from those of other clusters on the host.
 */
function localhostAnswers(dev: string, slot: number): KernelObject {
  return { type: 'route', dst: '::1/128', table: LOCAL_TABLE, dev, local: true, metric: LEAST_METRIC + slot };
}

/** The host's end of an uplink. */
export function hostUplink6({ network, uplinkSlot = 0 }: NetworkView, dev: string): KernelObject[] {
  const { subnet6, ingress } = network;
  if (subnet6 === undefined) return [{ type: 'sysctl', path: `ipv6/conf/${dev}/disable_ipv6`, value: '1' }];
  const { host, sandbox } = uplinkAddresses6(uplinkSlot);
  return [
    ...deviceSysctls6(dev).map(([path, value]): KernelObject => ({ type: 'sysctl', path, value })),
    { type: 'address', dev, address: `${PORT_ADDRESS6}/64` },
    { type: 'address', dev, address: `${host}/128` },
    { type: 'route', dst: `${sandbox}/128`, table: MAIN_TABLE, dev, via: CONTAINER_ADDRESS6 },
    ...(ingress
      ? ([
          { type: 'route', dst: subnet6, table: MAIN_TABLE, dev, via: CONTAINER_ADDRESS6 },
          localhostAnswers(dev, uplinkSlot),
        ] as const)
      : []),
  ];
}
