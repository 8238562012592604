/**
 * What this node's kernel should hold for its assignments. One scope for the host's own namespace and one for each
 * sandbox; containers' namespaces are filled once, when attached (container-scope.ts).
 */
import type { AssignmentSet, NetworkAssignment, TaskAssignment } from '../../shared/model/index.ts';
import { hostObjects } from './desired-host.ts';
import { sandboxObjects } from './desired-sandbox.ts';
import { type Scope, scopeOf } from './kernel-object.ts';
import { sandboxName } from './names.ts';

/** What the node knows of itself. */
export interface Self {
  readonly nodeId: string;
  /** Tells this node's namespaces and tables from those of others on the machine. */
  readonly prefix: string;
  /** MTU of overlay interfaces. */
  readonly mtu: number;
  readonly vxlanPort: number;
  /** Where named namespaces are, normally /run/netns. */
  readonly netnsDir: string;
  /** The /30 of each network's uplink, by network id. */
  readonly uplinkSlots: ReadonlyMap<string, number>;
  /** Tasks whose container has its interfaces, by task id. */
  readonly attached: ReadonlyMap<string, TaskAssignment>;
  /** Tasks that were detached and whose assignments have not gone yet. */
  readonly ended: ReadonlySet<string>;
}

/** A network with everything on it, seen from this node. */
export interface NetworkView {
  readonly network: NetworkAssignment;
  readonly set: AssignmentSet;
  readonly self: Self;
  readonly netns: string;
  /** Absent for an internal network. */
  readonly uplinkSlot: number | undefined;
}

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

/** A task that is to have interfaces here. */
function isComing(task: TaskAssignment, self: Self): boolean {
  return !self.ended.has(task.taskId) && (task.desired === 'ready' || task.desired === 'running');
}

/** Tasks of this node that take part in networks; those attached stay until they are detached. */
export function localTasks(set: AssignmentSet, self: Self): TaskAssignment[] {
  const tasks = new Map(self.attached);
  for (const task of set.tasks.values()) if (isComing(task, self)) tasks.set(task.taskId, task);
  return [...tasks.values()];
}

/** Networks that need a sandbox here: those with local tasks, and ingress while any port is published. */
export function localNetworks(set: AssignmentSet, self: Self): NetworkAssignment[] {
  const wanted = new Set(localTasks(set, self).flatMap((task) => task.addresses.map((a) => a.network)));
  const publishes = new Set(
    [...set.services.values()].filter((service) => service.ports.length > 0).map((s) => s.networkId),
  );
  return [...set.networks.values()].filter(
    (network) => wanted.has(network.networkId) || (network.ingress && publishes.has(network.networkId)),
  );
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
