/**
 * What this node's kernel should hold for its assignments. One scope for the host's own namespace and one for each
 * sandbox; containers' namespaces are filled once, when attached (container-scope.ts). A scope is a base and what each
 * endpoint and each service adds; desired-tracker.ts follows changes of single ones.
 */
import type { AssignmentSet, EndpointAssignment, PeerAssignment } from '../../shared/model/index.ts';
import { type AllowLists, allowLists, memberObjects } from './allow.ts';
import { hostBase, meshObjects } from './desired-host.ts';
import { endpointObjects, sandboxBase, vipObjects } from './desired-sandbox.ts';
import { EndpointIndex } from './endpoint-index.ts';
import { type KernelObject, type Scope, scopeOf } from './kernel-object.ts';
import { hasUplink, localNetworks, nameServerOf, type NetworkView, possible, type Self } from './local.ts';
import { sandboxName } from './names.ts';

export interface SandboxState {
  readonly netns: string;
  readonly vni: number;
  readonly networkId: string;
  readonly gateway: string;
  readonly objects: Scope;
}

export interface DesiredState {
  readonly host: Scope;
  readonly sandboxes: ReadonlyMap<string, SandboxState>;
}

/** Throws nothing; what is not yet known (a peer without an address) is left out until it is. */
export function desiredState(set: AssignmentSet, self: Self): DesiredState {
  const me = set.peers.get(self.nodeId);
  if (me === undefined) return { host: new Map(), sandboxes: new Map() };
  const views = viewsOf(set, self);
  const index = new EndpointIndex(set, self.nodeId);
  const sandboxes = views.map((view): [string, SandboxState] => {
    const allowed = allowLists(view, index);
    const units = sandboxUnits(view, me, index, allowed);
    const objects = scopeOf([...sandboxBase(view, me, allowed), ...units]);
    return [view.network.networkId, { ...placeOf(view), objects }];
  });
  const host = scopeOf([...hostBase(set, self, views), ...hostUnits(views, index)]);
  return { host, sandboxes: new Map(sandboxes) };
}

export function viewsOf(set: AssignmentSet, self: Self): NetworkView[] {
  return localNetworks(set, self).map(
    (network): NetworkView => ({
      network: possible(network, self),
      set,
      self,
      netns: `${self.netnsDir}/${sandboxName(self.prefix, network.vni)}`,
      uplinkSlot: hasUplink(network) ? self.uplinkSlots.get(network.networkId) : undefined,
    }),
  );
}

export function placeOf({ netns, network }: NetworkView): Omit<SandboxState, 'objects'> {
  return { netns, vni: network.vni, networkId: network.networkId, gateway: nameServerOf(network) };
}

/** The network whose published ports the host leads into the mesh. */
export function meshNetwork(views: readonly NetworkView[]): NetworkView | undefined {
  return views.find((view) => view.network.ingress && view.uplinkSlot !== undefined);
}

/** What all endpoints and services of a network add to its sandbox. */
export function sandboxUnits(
  view: NetworkView,
  me: PeerAssignment,
  index: EndpointIndex,
  allowed: AllowLists,
): KernelObject[] {
  const { networkId } = view.network;
  const endpoints = [...index.endpointsOn(networkId).values()];
  const services = [...index.servicesOn(networkId).values()];
  return [
    ...endpoints.flatMap((endpoint) => endpointUnit(view, me, allowed, endpoint)),
    ...services.flatMap((service) => vipObjects(view.network, service, index.backendsOf(service))),
  ];
}

/** What one endpoint adds to its network's sandbox. */
export function endpointUnit(
  view: NetworkView,
  me: PeerAssignment,
  allowed: AllowLists,
  endpoint: EndpointAssignment,
): KernelObject[] {
  // A network without a tunnel does not lead there.
  if (endpoint.local === true && endpoint.nodeId !== me.nodeId) return [];
  return [...endpointObjects(view, me, endpoint), ...memberObjects(view.network, allowed, endpoint)];
}

/** What all services add to the host's own namespace. */
export function hostUnits(views: readonly NetworkView[], index: EndpointIndex): KernelObject[] {
  const mesh = meshNetwork(views);
  if (mesh === undefined) return [];
  return [...index.servicesOn(mesh.network.networkId).values()].flatMap((service) =>
    meshObjects(mesh, service, index),
  );
}
