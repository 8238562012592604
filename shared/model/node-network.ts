/** Docker's networks of one host: every node has them, nobody makes or removes them. */
import type { RuntimeOptions } from './runtime-options.ts';
import type { ServiceSpec } from './service.ts';

export const NODE_NETWORKS = ['bridge', 'host', 'none'] as const;
/** `host`: the node's own network; `none`: the loopback alone; `bridge`: a way out, which every container has anyway. */
export type NodeNetwork = (typeof NODE_NETWORKS)[number];

const ID_LENGTH = 25;

/** Fixed, so that specs may name it. */
export function nodeNetworkId(name: NodeNetwork): string {
  return name.padEnd(ID_LENGTH, '0');
}

/** Of a name or an id; undefined for every other network. */
export function nodeNetworkOf(ref: string): NodeNetwork | undefined {
  return NODE_NETWORKS.find((name) => name === ref || nodeNetworkId(name) === ref);
}

/** It is in the network namespace of its node or of another container, which is not its to change. */
export function hasForeignNetwork({ network, networkOf }: RuntimeOptions = {}): boolean {
  return network === 'host' || networkOf !== undefined;
}

/** It has no address of the cluster's. */
export function isOffNetworks({ network, networkOf }: RuntimeOptions = {}): boolean {
  return network !== undefined || networkOf !== undefined;
}

/** Which of them the service is on in place of networks of the cluster, as it was asked for or as it is stored. */
export function ownNetworkOf(spec: ServiceSpec): 'host' | 'none' | undefined {
  const names = spec.networks.map(({ network }) => nodeNetworkOf(network));
  if (names.includes('host')) return 'host';
  return names.includes('none') ? 'none' : spec.container.runtime?.network;
}
