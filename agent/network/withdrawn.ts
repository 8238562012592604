/** PURE. Connections that the kernel must forget because their backend no longer serves. */
import { address6 } from '../../shared/lib/network-ipv6.ts';
import type { AssignmentSet, EndpointAssignment, ServiceAssignment } from '../../shared/model/index.ts';
import type { NetOp } from './diff.ts';
import { type RowChanges, serviceKeyOf } from './endpoint-index.ts';
import type { Batch } from './plan.ts';

const TCP = 6;
const UDP = 17;

/** Who serves, as far as some rows tell. By place: sandboxes by network id, the host as HOST. */
interface ServingView {
  /** Addresses that serve. */
  readonly serving: ReadonlyMap<string, ReadonlySet<string>>;
  readonly known: ReadonlyMap<string, ReadonlySet<string>>;
  /** Keys of services with a backend. */
  readonly services: ReadonlySet<string>;
}

const HOST = '';

/**
 * What to forget in each sandbox and on the host. UDP: whatever led to a backend that stopped serving. TCP connections may
 * end in peace while the container does, and are cut when it is gone for good. Each look for them goes through the table of
 * all connections: it is made only where an address was translated. `rows`: all that differ; undefined: unknown.
 */
export function flushes(
  before: AssignmentSet,
  after: AssignmentSet,
  rows: RowChanges | undefined,
  nodeId: string,
  sandboxes: readonly { readonly netns: string; readonly networkId: string }[],
): Batch[] {
  const [old, now] = [before, after].map((set) => servingView(set, endpointsOf(set, rows), nodeId));
  if (old === undefined || now === undefined) return [];
  const inside = sandboxes.map(({ netns, networkId }) => ({ netns, ops: flushOps(old, now, networkId) }));
  const begun = new Set([...now.services].filter((key) => !old.services.has(key)));
  const onHost = [...flushOps(old, now, HOST), ...flushPorts(before, after, rows, begun)];
  return [...inside, { netns: null, ops: onHost }].filter(({ ops }) => ops.length > 0);
}

function endpointsOf(set: AssignmentSet, rows: RowChanges | undefined): Iterable<EndpointAssignment> {
  if (rows === undefined) return set.endpoints.values();
  return [...rows.endpoints].flatMap((key) => set.endpoints.get(key) ?? []);
}

function servingView(
  set: AssignmentSet,
  endpoints: Iterable<EndpointAssignment>,
  nodeId: string,
): ServingView {
  const serving = new Map<string, Set<string>>();
  const known = new Map<string, Set<string>>();
  const services = new Set<string>();
  for (const endpoint of endpoints) {
    for (const place of placesOf(set, endpoint, nodeId)) {
      for (const address of addressesOf(set, endpoint)) {
        add(known, place, address);
        if (endpoint.serving) add(serving, place, address);
      }
    }
    if (endpoint.serving) services.add(serviceKeyOf(endpoint));
  }
  return { serving, known, services };
}

/** Of both families. */
function addressesOf({ networks }: AssignmentSet, { networkId, address }: EndpointAssignment): string[] {
  const network = networks.get(networkId);
  const own = network === undefined ? undefined : address6(network, address);
  return own === undefined ? [address] : [address, own];
}

/** Where connections may have been translated to the endpoint's address: by a VIP, by the mesh or by a port of mode host. */
function placesOf(set: AssignmentSet, endpoint: EndpointAssignment, nodeId: string): string[] {
  const { networkId } = endpoint;
  const service = set.services.get(serviceKeyOf(endpoint));
  const byVip = service?.vip !== undefined || service?.canary !== undefined;
  const byHost = set.networks.get(networkId)?.ingress === true || endpoint.nodeId === nodeId;
  return [...(byVip ? [networkId] : []), ...(byHost ? [HOST] : [])];
}

function add(sets: Map<string, Set<string>>, key: string, value: string): void {
  const members = sets.get(key) ?? new Set();
  sets.set(key, members.add(value));
}

function flushOps(before: ServingView, after: ServingView, place: string): NetOp[] {
  const stopped = missing(before.serving.get(place), after.serving.get(place));
  const gone = missing(before.known.get(place), after.known.get(place));
  return [
    ...(stopped.length === 0 ? [] : [{ op: 'ct-flush', protocol: UDP, backends: stopped }]),
    ...(gone.length === 0 ? [] : [{ op: 'ct-flush', protocol: TCP, backends: gone }]),
  ];
}

function missing(before: ReadonlySet<string> = new Set(), after: ReadonlySet<string> = new Set()): string[] {
  return [...before].filter((address) => !after.has(address));
}

/** Datagrams to a port that nothing served were taken for the host's own; they must be led anew. */
function flushPorts(
  before: AssignmentSet,
  after: AssignmentSet,
  rows: RowChanges | undefined,
  begun: ReadonlySet<string>,
): NetOp[] {
  const keys = new Set([...(rows?.services ?? after.services.keys()), ...begun]);
  const ports = new Set<number>();
  for (const key of keys) {
    const known = begun.has(key) ? [] : udpPorts(before.services.get(key));
    for (const port of udpPorts(after.services.get(key))) if (!known.includes(port)) ports.add(port);
  }
  return ports.size === 0 ? [] : [{ op: 'ct-flush', protocol: UDP, ports: [...ports] }];
}

function udpPorts(service: ServiceAssignment | undefined): number[] {
  const ports = service?.ports.filter((port) => port.protocol === 'udp') ?? [];
  return ports.map((port) => port.publishedPort);
}
