/**
 * PURE. The work of taking one container's interfaces away, where nothing else goes with them: on a node with a thousand
 * containers, to compute what all the others need costs more than all the rest of a removal.
 */
import type { AssignmentSet, NetworkAssignment, TaskAssignment } from '../../shared/model/index.ts';
import { isGuarded } from './allow.ts';
import { interfacesOf } from './container-scope.ts';
import { diffScope } from './diff.ts';
import { familiesOf } from './family.ts';
import { fastPathLeft } from './fast-path.ts';
import { hostPortsOf } from './host-ports.ts';
import { keyOf, type Scope } from './kernel-object.ts';
import { portObjects, sourcesOf } from './local-objects.ts';
import { isWanted, localTasks, mtuOf, type Self } from './local.ts';
import { sandboxName } from './names.ts';
import type { Batch } from './plan.ts';

export interface DetachPlan {
  readonly batches: readonly Batch[];
  /** Keys of what each sandbox then holds no more, by VNI. */
  readonly removed: ReadonlyMap<number, readonly string[]>;
}

/**
 * Undefined when more may have to go, or what is there may serve others: ports of the node, rules about who may connect, a
 * network that nobody else here is on, an address that another task has. `self` knows already that the task has left.
 */
export function detachPlan(
  task: TaskAssignment,
  set: AssignmentSet,
  self: Self,
  sandboxes: ReadonlyMap<number, Scope>,
): DetachPlan | undefined {
  const interfaces = interfacesOf(task, set.networks);
  if (hostPortsOf(task).length > 0 || interfaces.length !== task.addresses.length) return undefined;
  if (interfaces.some(({ network }) => isGuarded(task, network, set))) return undefined;
  if (!othersStay(task, localTasks(set, self))) return undefined;
  const batches: Batch[] = [];
  const removed = new Map<number, readonly string[]>();
  for (const { network, address } of interfaces) {
    const held = sandboxes.get(network.vni);
    if (held === undefined) return undefined;
    const keys = keysOf(task, network, address, self);
    const stale = new Map(
      keys.flatMap((key) => {
        const object = held.get(key);
        return object === undefined ? [] : [[key, object] as const];
      }),
    );
    const netns = `${self.netnsDir}/${sandboxName(self.prefix, network.vni)}`;
    batches.push({ netns, ops: diffScope(stale, new Map(), netns).rest });
    removed.set(network.vni, keys);
  }
  return { batches: batches.filter(({ ops }) => ops.length > 0), removed };
}

/** In one sandbox. */
function keysOf(task: TaskAssignment, network: NetworkAssignment, address: string, self: Self): string[] {
  return [
    ...portObjects(task, network, address, mtuOf(network, self), true),
    ...familiesOf(network).flatMap((family) => sourcesOf(task, network, family)),
  ].map(keyOf);
}

/** What sandboxes may still hold of containers that have lost their devices, and are not to run: as `VNI KEY`. */
export function leftBy(lost: readonly TaskAssignment[], set: AssignmentSet, self: Self): Set<string> {
  const ended = lost.filter(({ taskId }) => !isWanted(set.tasks.get(taskId)));
  const keys = ended.flatMap((task) =>
    interfacesOf(task, set.networks).flatMap(({ network, address }) =>
      [...keysOf(task, network, address, self), ...fastPathLeft(network, address)].map(
        (key) => `${network.vni} ${key}`,
      ),
    ),
  );
  return new Set(keys);
}

/** Each of its networks has another task here, and none of those has its addresses. */
function othersStay(task: TaskAssignment, others: readonly TaskAssignment[]): boolean {
  const lonely = new Set(task.addresses.map(({ network }) => network));
  const own = new Set(task.addresses.map(({ network, address }) => `${network} ${address}`));
  for (const other of others) {
    if (other.taskId === task.taskId) return false;
    for (const { network, address } of other.addresses) {
      lonely.delete(network);
      if (own.has(`${network} ${address}`)) return false;
    }
  }
  return lonely.size === 0;
}
