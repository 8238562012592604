/** What a service publishes: a virtual address a network, and its ports with the dynamic ones chosen. */
import type { PublishedPort, Service, ServiceSpec } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID, isOnMesh } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';
import type { AddressBook } from './addresses.ts';
import { networksOf } from './addresses.ts';

export const FIRST_DYNAMIC_PORT = 30_000;
export const LAST_DYNAMIC_PORT = 32_767;

type Endpoint = NonNullable<Service['endpoint']>;
export type EndpointResult =
  | { readonly kind: 'ready'; readonly endpoint: Endpoint }
  | { readonly kind: 'blocked'; readonly reason: string };

/** Published mesh ports of the cluster: `tcp/80` to the service that holds it. */
export class PortBook {
  readonly #owners = new Map<string, string>();
  #next = FIRST_DYNAMIC_PORT;

  constructor(view: View) {
    for (const { id, endpoint } of view.services.values()) {
      for (const port of endpoint?.ports ?? []) this.#note(id, port);
    }
  }

  owner(port: Pick<PublishedPort, 'protocol' | 'publishedPort'>): string | undefined {
    return this.#owners.get(`${port.protocol}/${port.publishedPort}`);
  }

  /** Replaces what the service holds. */
  assign(serviceId: string, before: readonly PublishedPort[], after: readonly PublishedPort[]): void {
    for (const port of before) {
      if (this.owner(port) === serviceId) this.#owners.delete(`${port.protocol}/${port.publishedPort}`);
    }
    for (const port of after) this.#note(serviceId, port);
  }

  /** A free port of the dynamic range, after those given; undefined when all are taken. */
  findDynamic(protocol: PublishedPort['protocol'], chosen: ReadonlySet<string>): number | undefined {
    const count = LAST_DYNAMIC_PORT - FIRST_DYNAMIC_PORT + 1;
    for (let i = 0; i < count; i += 1) {
      const port = FIRST_DYNAMIC_PORT + ((this.#next - FIRST_DYNAMIC_PORT + i) % count);
      const key = `${protocol}/${port}`;
      if (!this.#owners.has(key) && !chosen.has(key)) return port;
    }
    return undefined;
  }

  #note(serviceId: string, { mode, protocol, publishedPort }: PublishedPort): void {
    if (mode !== 'ingress' || publishedPort === 0) return;
    this.#owners.set(`${protocol}/${publishedPort}`, serviceId);
    const dynamic = publishedPort >= FIRST_DYNAMIC_PORT && publishedPort <= LAST_DYNAMIC_PORT;
    if (dynamic && publishedPort >= this.#next) this.#next = publishedPort + 1;
    if (this.#next > LAST_DYNAMIC_PORT) this.#next = FIRST_DYNAMIC_PORT;
  }
}

/** The endpoint that the spec asks for, keeping what the service has. Takes what it gives from the books. */
export function allocateEndpoint(
  view: View,
  service: Service,
  spec: ServiceSpec,
  addresses: AddressBook,
  portBook: () => PortBook,
): EndpointResult {
  const touchesPorts = spec.ports.length + (service.endpoint?.ports.length ?? 0) > 0;
  const resolved = touchesPorts ? resolvePorts(view, service, spec, portBook()) : [];
  if (typeof resolved === 'string') return { kind: 'blocked', reason: resolved };
  const vips: { network: string; address: string }[] = [];
  for (const network of spec.endpointMode === 'vip' ? networksWithVip(spec) : []) {
    const kept = service.endpoint?.vips.find((vip) => vip.network === network)?.address;
    const result = takeVip(view, service, spec, addresses, network, kept);
    if ('problem' in result) return { kind: 'blocked', reason: result.problem };
    vips.push({ network, address: result.address });
  }
  if (touchesPorts) portBook().assign(service.id, service.endpoint?.ports ?? [], resolved);
  return { kind: 'ready', endpoint: { vips, ports: resolved } };
}

/** The one that the spec asks for, else what the service has, else any. */
function takeVip(
  view: View,
  service: Service,
  spec: ServiceSpec,
  addresses: AddressBook,
  network: string,
  kept: string | undefined,
): Taken {
  // A container's address is its task's.
  const given = spec.mode.kind === 'container' ? undefined : addressOn(spec, network);
  if (kept !== undefined && (given === undefined || given === kept)) return { address: kept };
  return takeOne(view, addresses, service.id, network, given);
}

export type Taken = { readonly address: string } | { readonly problem: string };

/** The address that the spec asks for on the network. */
export function addressOn({ networks }: ServiceSpec, network: string): string | undefined {
  return networks.find((attachment) => attachment.network === network)?.address;
}

/** This address, or any; or why it can not be had, for people. */
export function takeOne(
  view: View,
  addresses: AddressBook,
  serviceId: string,
  network: string,
  given: string | undefined,
): Taken {
  if (given === undefined) {
    const address = addresses.take(network);
    return address === undefined ? { problem: whyNoAddress(view, network) } : { address };
  }
  const { problem } = addresses.takeGiven(network, given, serviceId);
  if (problem === undefined) return { address: given };
  const name = view.networks.get(network)?.spec.name ?? network;
  return { problem: `address ${given} on network ${name} can not be had: ${problem}` };
}

/** On ingress only what the mesh leads to has one. */
function networksWithVip(spec: ServiceSpec): string[] {
  return networksOf(spec).filter((network) => network !== INGRESS_NETWORK_ID || isOnMesh(spec));
}

/** Why a network gives no address, for people. */
export function whyNoAddress(view: View, id: string): string {
  const network = view.networks.get(id);
  if (network === undefined) return `network ${id} not found`;
  if (network.error !== undefined) return `network ${network.spec.name} has no subnet: ${network.error}`;
  return `no free address on network ${network.spec.name}`;
}

/** The ports with numbers for all, or the reason why not. */
function resolvePorts(
  view: View,
  service: Service,
  spec: ServiceSpec,
  ports: PortBook,
): readonly PublishedPort[] | string {
  const chosen = new Set<string>();
  const resolved: PublishedPort[] = [];
  const held = [...(service.endpoint?.ports ?? [])];
  for (const port of spec.ports) {
    const number =
      port.mode === 'host' ? port.publishedPort : numberFor(port, service.id, held, ports, chosen);
    if (number === undefined) return `no free port in ${FIRST_DYNAMIC_PORT}-${LAST_DYNAMIC_PORT}`;
    const result = { ...port, publishedPort: number };
    if (port.mode === 'ingress') {
      const owner = ports.owner(result);
      if (owner !== undefined && owner !== service.id) {
        const name = view.services.get(owner)?.name ?? owner;
        return `port ${number}/${port.protocol} is already published by service ${name}`;
      }
      chosen.add(`${port.protocol}/${number}`);
    }
    resolved.push(result);
  }
  return resolved;
}

function numberFor(
  port: PublishedPort,
  serviceId: string,
  held: PublishedPort[],
  ports: PortBook,
  chosen: ReadonlySet<string>,
): number | undefined {
  if (port.publishedPort !== 0) return port.publishedPort;
  const index = held.findIndex(
    (other) =>
      other.mode === 'ingress' &&
      other.protocol === port.protocol &&
      other.targetPort === port.targetPort &&
      other.publishedPort >= FIRST_DYNAMIC_PORT &&
      other.publishedPort <= LAST_DYNAMIC_PORT &&
      !chosen.has(`${port.protocol}/${other.publishedPort}`) &&
      ports.owner(other) === serviceId,
  );
  if (index >= 0) return held.splice(index, 1)[0]?.publishedPort;
  return ports.findDynamic(port.protocol, chosen);
}
