/** What a service publishes: a virtual address a network, and its ports. */
import type { Service, ServiceSpec } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID, isOnMesh } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';
import type { AddressBook } from './addresses.ts';
import { networksOf } from './addresses.ts';
import { type PortBook, resolvePorts } from './ports.ts';

type Endpoint = NonNullable<Service['endpoint']>;
export type EndpointResult =
  | { readonly kind: 'ready'; readonly endpoint: Endpoint }
  | { readonly kind: 'blocked'; readonly reason: string };

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
