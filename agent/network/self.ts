/** What this node is, as its driver was told and as the host's own namespace says. */
import type { AssignmentSet } from '../../shared/model/index.ts';
import { advertisedDevices } from './desired-host6.ts';
import type { NetworkDriverOptions } from './driver-options.ts';
import type { Self } from './local.ts';
import { prefixOf, TUNNEL_OVERHEAD } from './names.ts';
import type { NamespaceDump } from './observe.ts';
import { ownVlans } from './outside-links.ts';
import { KERNEL_HAS_IPV6, underlayMtu } from './underlay.ts';

export const NETNS_DIR = '/run/netns';

/** What the driver itself keeps of its containers and uplinks. */
type Kept = Pick<Self, 'uplinkSlots' | 'attached' | 'localRevision' | 'ended' | 'fastPath'>;

export function selfOf(
  options: NetworkDriverOptions,
  { peers }: Pick<AssignmentSet, 'peers'>,
  dump: NamespaceDump,
  kept: Kept,
): Self {
  const { clusterName, nodeId } = options;
  const prefix = prefixOf(clusterName, nodeId);
  const wire = options.wire?.();
  return {
    ...(wire === undefined ? {} : { wire }),
    nodeId,
    prefix,
    mtu: underlayMtu(dump, peers.get(nodeId)?.address) - TUNNEL_OVERHEAD,
    vxlanPort: options.vxlanPort ?? 4789,
    netnsDir: options.netnsDir ?? NETNS_DIR,
    ownVlans: ownVlans(dump, prefix),
    hostLinks: new Set(dump.links.map(({ name }) => name)),
    ...(KERNEL_HAS_IPV6 ? {} : { noIpv6: true as const }),
    advertised: advertisedDevices(dump.sysctls),
    ...kept,
  };
}
