/** Connections that the kernel must forget because their backend no longer serves. */
import type { AssignmentSet } from '../../shared/model/index.ts';
import type { NetOp } from './diff.ts';

const TCP = 6;
const UDP = 17;

/** Who served which network, as of one assignment set. */
export interface ServingView {
  /** Addresses that served, by network id. */
  readonly serving: ReadonlyMap<string, ReadonlySet<string>>;
  readonly known: ReadonlyMap<string, ReadonlySet<string>>;
  /** UDP ports published with a backend. */
  readonly udpPorts: ReadonlySet<number>;
}

export function servingView(set: AssignmentSet): ServingView {
  const serving = new Map<string, Set<string>>();
  const known = new Map<string, Set<string>>();
  const services = new Set<string>();
  for (const endpoint of set.endpoints.values()) {
    add(known, endpoint.networkId, endpoint.address);
    if (!endpoint.serving) continue;
    add(serving, endpoint.networkId, endpoint.address);
    services.add(`${endpoint.networkId}/${endpoint.serviceId}`);
  }
  const ports = [...set.services.values()]
    .filter((service) => services.has(`${service.networkId}/${service.serviceId}`))
    .flatMap((service) => service.ports.filter((port) => port.protocol === 'udp'))
    .map((port) => port.publishedPort);
  return { serving, known, udpPorts: new Set(ports) };
}

function add(sets: Map<string, Set<string>>, key: string, value: string): void {
  const members = sets.get(key) ?? new Set();
  sets.set(key, members.add(value));
}

/**
 * What to forget in the sandbox of a network and on the host. UDP: whatever led to a backend that stopped serving. TCP
 * connections may end in peace while the container does, and are cut when it is gone for good.
 */
export function flushOps(before: ServingView, after: ServingView, networkId: string): NetOp[] {
  const stopped = missing(before.serving.get(networkId), after.serving.get(networkId));
  const gone = missing(before.known.get(networkId), after.known.get(networkId));
  return [
    ...(stopped.length === 0 ? [] : [{ op: 'ct-flush', protocol: UDP, backends: stopped }]),
    ...(gone.length === 0 ? [] : [{ op: 'ct-flush', protocol: TCP, backends: gone }]),
  ];
}

/** Datagrams to a port that nothing served were taken for the host's own; they must be led anew. */
export function flushPorts(before: ServingView, after: ServingView): NetOp[] {
  const ports = [...after.udpPorts].filter((port) => !before.udpPorts.has(port));
  return ports.length === 0 ? [] : [{ op: 'ct-flush', protocol: UDP, ports }];
}

function missing(before: ReadonlySet<string> = new Set(), after: ReadonlySet<string> = new Set()): string[] {
  return [...before].filter((address) => !after.has(address));
}
