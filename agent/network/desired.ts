/**
 * What this node's kernel should hold for its assignments. One scope for the host's own namespace and one for each
 * sandbox; containers' namespaces are filled once, when attached (container-scope.ts).
 */
import type { AssignmentSet } from '../../shared/model/index.ts';
import { hostObjects } from './desired-host.ts';
import { sandboxObjects } from './desired-sandbox.ts';
import { type Scope, scopeOf } from './kernel-object.ts';
import { localNetworks, type NetworkView, type Self } from './local.ts';
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
  const views = localNetworks(set, self).map(
    (network): NetworkView => ({
      network,
      set,
      self,
      netns: `${self.netnsDir}/${sandboxName(self.prefix, network.vni)}`,
      uplinkSlot: network.internal && !network.ingress ? undefined : self.uplinkSlots.get(network.networkId),
    }),
  );
  const sandboxes = views.map((view): [string, SandboxState] => [
    view.network.networkId,
    {
      netns: view.netns,
      vni: view.network.vni,
      networkId: view.network.networkId,
      gateway: view.network.gateway,
      objects: scopeOf(sandboxObjects(view, me)),
    },
  ]);
  return { host: scopeOf(hostObjects(set, self, views)), sandboxes: new Map(sandboxes) };
}
