/** What a node's network driver is given. */
import type { Logger, NetworkReport } from '../../shared/model/index.ts';
import type { LiveContainers } from './live-wiring.ts';
import type { Wire } from './local.ts';
import type { Plugins } from './plugin/plugins.ts';

export interface NetworkDriverOptions {
  /** With the node's id it makes the names of namespaces, tables and devices. Letters, digits, - and _. */
  readonly clusterName: string;
  readonly nodeId: string;
  readonly logger: Logger;
  /** Default 4789 (RFC 7348). The next one is used inside of WireGuard. */
  readonly vxlanPort?: number;
  /** This node's ends of encrypted ways as they are now; without it encrypted networks are refused. */
  readonly wire?: () => Wire | undefined;
  /** Networks that plugins make. Absent: there are none. */
  readonly plugins?: Plugins;
  /** The kernel has macvlan. Default: it has not. */
  readonly macvlan?: boolean;
  /** Default /run/netns, where ip-netns(8) looks. */
  readonly netnsDir?: string;
  /** Name servers for names that are not the cluster's. Default: those of /etc/resolv.conf. */
  readonly hostResolvers?: readonly string[];
  /** Time between two looks at the kernel. Default 10 s; 0: none. */
  readonly repairMs?: number;
  /** How long a network's sandbox stays after its last task here. Default 0. */
  readonly lingerMs?: number;
  /** Called with what there is to say of the node's networks, whenever that has changed. */
  readonly onReport?: (report: NetworkReport) => void;
  /** The containers that run. Absent: their networks do not change while they do. */
  readonly live?: LiveContainers;
}
