/** host, bridge and none as the Docker Engine API shows them. */
import { type NodeNetwork, nodeNetworkId } from '../../../shared/model/index.ts';
import { timeText } from './common.ts';

const DRIVERS: Readonly<Record<NodeNetwork, string>> = { bridge: 'bridge', host: 'host', none: 'null' };

export type NetworkScope = 'local' | 'swarm';

/** `scope`: clients that make services ask for the swarm's view of them. */
export function encodeNodeNetwork(name: NodeNetwork, createdAtMs: number, scope: NetworkScope = 'local') {
  return {
    Name: name,
    Id: nodeNetworkId(name),
    Created: timeText(createdAtMs),
    Scope: scope,
    Driver: DRIVERS[name],
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: 'default', Options: null, Config: [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: {},
    Labels: {},
  };
}
