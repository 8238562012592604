/** What host, bridge and none are when a service names them as its network. Pure. */
import { InvalidError } from '../../../shared/errors/index.ts';
import { nodeNetworkOf, type ContainerSpec, type ServiceSpec } from '../../../shared/model/index.ts';

/**
 * The spec as it is stored: host and none are an option of the container's runtime, bridge is what a service without
 * networks has. Throws InvalidError when one of them is named beside another network.
 */
export function takeNodeNetwork(spec: ServiceSpec): ServiceSpec {
  const problem = nodeNetworkProblem(spec);
  if (problem !== undefined)
    throw new InvalidError(`rpc error: code = InvalidArgument desc = networks: ${problem}`);
  const own = spec.networks.flatMap(({ network }) => nodeNetworkOf(network) ?? [])[0];
  if (own === undefined) return spec;
  if (own === 'bridge') return { ...spec, networks: [] };
  const runtime = { ...spec.container.runtime, network: own };
  return { ...spec, networks: [], container: { ...spec.container, runtime } };
}

export function nodeNetworkProblem({ networks, container }: ServiceSpec): string | undefined {
  const asked = networks.find(({ network }) => nodeNetworkOf(network) !== undefined);
  const own = asked === undefined ? container.runtime?.network : nodeNetworkOf(asked.network);
  if (own === undefined || networks.length === (asked === undefined ? 0 : 1)) return undefined;
  const why =
    own === 'bridge' ? 'every network that is not internal is a way out' : 'it takes the place of all others';
  return `network ${own} can not be combined with other networks: ${why}`;
}

/** Without what a network says: for an update that names the networks anew. */
export function withoutNodeNetwork(runtime: ContainerSpec['runtime']): ContainerSpec['runtime'] {
  const { network: _, ...rest } = runtime ?? {};
  return Object.keys(rest).length === 0 ? undefined : rest;
}
