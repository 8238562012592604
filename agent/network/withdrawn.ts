/** PURE. Connections that the kernel must forget because their backend no longer serves. */
import { address6 } from '../../shared/lib/network-ipv6.ts';
import type { AssignmentSet, EndpointAssignment, ServiceAssignment } from '../../shared/model/index.ts';
import type { DesiredChange, ScopeChange } from './desired-tracker.ts';
import type { NetOp } from './diff.ts';
import { type RowChanges, serviceKeyOf } from './endpoint-index.ts';
import { type Family, IPV4, IPV6, tableIn } from './family.ts';
import { keyOf, type Scope } from './kernel-object.ts';
import { hostTable, SANDBOX_TABLE } from './names.ts';
import type { Batch, ObservedState } from './plan.ts';
import { SEEN } from './seen-flows.ts';

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

/** Where connections are translated: a namespace and its nft table. */
export interface FlowPlace {
  readonly netns: string | null;
  /** A sandbox's network; HOST. */
  readonly networkId: string;
  readonly table: string;
  /** Families of which it has such a table. */
  readonly families: readonly Family['ip'][];
  /** Backends that the kernel noted UDP flows to, when it was last read. */
  readonly seen: readonly string[];
}

/** By namespace; null is the host's. */
type SeenFlows = ReadonlyMap<string | null, readonly string[]>;

/** All of them, as they are once the change is made. */
export function flowPlaces(
  reading: ObservedState & { readonly seen: SeenFlows },
  { host, sandboxes }: DesiredChange,
  prefix: string,
): FlowPlace[] {
  const seen = (netns: string | null): readonly string[] => reading.seen.get(netns) ?? [];
  const table = hostTable(prefix);
  return [
    ...[...sandboxes.values()].map(({ netns, networkId, vni, scope }) => ({
      ...{ netns, networkId, table: SANDBOX_TABLE, seen: seen(netns) },
      families: familiesWith(SANDBOX_TABLE, reading.sandboxes.get(vni), scope),
    })),
    {
      netns: null,
      networkId: HOST,
      table,
      seen: seen(null),
      families: familiesWith(table, reading.host, host),
    },
  ];
}

function familiesWith(
  table: string,
  now: Scope = new Map(),
  { whole, objects }: ScopeChange,
): Family['ip'][] {
  const will = (key: string): boolean =>
    objects.has(key) ? objects.get(key) !== undefined : !whole && now.has(key);
  return [IPV4, IPV6]
    .filter((family) => will(keyOf({ type: 'table', table: tableIn(family, table) })))
    .map(({ ip }) => ip);
}

/**
 * What to forget in each sandbox and on the host. UDP: whatever led to a backend that stopped serving. TCP connections may
 * end in peace while the container does, and are cut when it is gone for good. Each look for them goes through the table of
 * all connections: it is made only where an address was translated. `rows`: all that differ; undefined: unknown. `before`
 * undefined: what an agent before this one applied is not known; UDP flows to what it left are forgotten.
 */
export function flushes(
  before: AssignmentSet | undefined,
  after: AssignmentSet,
  rows: RowChanges | undefined,
  nodeId: string,
  places: readonly FlowPlace[],
): Batch[] {
  if (before === undefined) return leftFlushes(after, nodeId, places);
  const [old, now] = [before, after].map((set) => servingView(set, endpointsOf(set, rows), nodeId));
  if (old === undefined || now === undefined) return [];
  const begun = new Set([...now.services].filter((key) => !old.services.has(key)));
  const ports = flushPorts(before, after, rows, begun);
  return filled(
    places.map((place) => ({
      netns: place.netns,
      ops: [...flushOps(old, now, place), ...(place.networkId === HOST ? ports : [])],
    })),
  );
}

function filled(batches: readonly Batch[]): Batch[] {
  return batches.filter(({ ops }) => ops.length > 0);
}

function leftFlushes(after: AssignmentSet, nodeId: string, places: readonly FlowPlace[]): Batch[] {
  if (places.every(({ seen }) => seen.length === 0)) return [];
  const { serving } = servingView(after, after.endpoints.values(), nodeId);
  return filled(
    places.map((place) => ({
      netns: place.netns,
      ops: flushUdp(missing(new Set(place.seen), serving.get(place.networkId)), place),
    })),
  );
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

function flushOps(before: ServingView, after: ServingView, place: FlowPlace): NetOp[] {
  const { networkId, families } = place;
  const here = (address: string): boolean => families.includes(address.includes(':') ? 'ip6' : 'ip');
  const stopped = missing(before.serving.get(networkId), after.serving.get(networkId)).filter(here);
  const gone = missing(before.known.get(networkId), after.known.get(networkId)).filter(here);
  return [
    ...flushUdp(stopped, place),
    ...(gone.length === 0 ? [] : [{ op: 'ct-flush', protocol: TCP, backends: gone }]),
  ];
}

function flushUdp(backends: readonly string[], { table }: FlowPlace): NetOp[] {
  return backends.length === 0
    ? []
    : [{ op: 'ct-flush', protocol: UDP, backends, seen: { table, set: SEEN } }];
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
