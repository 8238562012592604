/** Containers that run and are connected to networks, or taken from them. */
import { describeError } from '../../shared/errors/index.ts';
import {
  type AssignmentSet,
  hasForeignNetwork,
  type NetworkAssignment,
  type TaskAddress,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import type { Logger } from '../../shared/model/options.ts';
import { dumpNamespace } from '../native/network.ts';
import { CONTAINER_SYSCTLS, interfacesOf } from './container-scope.ts';
import type { Kernel } from './kernel.ts';
import { requireTunnels, type Self } from './local.ts';
import type { NamespaceDump } from './observe.ts';
import type { AttachPlan } from './attach.ts';
import { isOutside } from './outside-links.ts';
import type { Outside } from './outside.ts';
import { rewirePlan } from './rewire.ts';

/** What is known of the containers that run here. */
export interface LiveContainers {
  /** Path of the network namespace of the task's container; undefined when none runs. */
  netnsOf(taskId: string): Promise<string | undefined>;
  /** Its interfaces are others now, and its /etc/resolv.conf should say so. */
  rewired(taskId: string, resolvConf: string): Promise<void>;
}

export class LiveWiring {
  readonly #live: LiveContainers | undefined;
  readonly #outside: Outside;
  readonly #kernel: Kernel;
  readonly #logger: Logger;
  /** Why a task is not wired as it should be. */
  readonly #problems = new Map<string, string>();

  constructor(live: LiveContainers | undefined, outside: Outside, kernel: Kernel, logger: Logger) {
    this.#live = live;
    this.#outside = outside;
    this.#kernel = kernel;
    this.#logger = logger;
  }

  /** Undefined: none is known. */
  problemOf(taskId: string): string | undefined {
    return this.#problems.get(taskId);
  }

  /** Those of them that have lost an interface with what was below it on the host. */
  async broken(tasks: readonly TaskAssignment[], set: AssignmentSet): Promise<Set<string>> {
    const found = new Set<string>();
    for (const task of tasks.filter((one) => isOutside(one, set))) {
      const netns = await this.#live?.netnsOf(task.taskId);
      if (netns === undefined) continue;
      // It may end meanwhile.
      const dump = await dumpNamespace(netns, []).catch(() => undefined);
      if (dump === undefined) continue;
      if (missingIn(dump as NamespaceDump, task, set).length > 0) found.add(task.taskId);
    }
    return found;
  }

  /** Wires those that run; `done` is told of each. What can not be done is tried again with the next change. */
  async run(
    set: AssignmentSet,
    self: Self,
    due: ReadonlySet<string>,
    done: (task: TaskAssignment, added: AttachPlan['added']) => Promise<string>,
  ): Promise<void> {
    for (const taskId of this.#problems.keys()) if (!due.has(taskId)) this.#problems.delete(taskId);
    for (const taskId of due) {
      const task = set.tasks.get(taskId);
      if (task === undefined || hasForeignNetwork(task.spec.container.runtime)) continue;
      try {
        await this.#rewire(task, set, self, done);
        this.#problems.delete(taskId);
      } catch (error) {
        this.#kernel.forget();
        this.#problems.set(taskId, describeError(error));
        this.#logger.warn(
          { taskId, error: describeError(error) },
          'a container could not be connected to its networks',
        );
      }
    }
  }

  async #rewire(
    task: TaskAssignment,
    set: AssignmentSet,
    self: Self,
    done: (task: TaskAssignment, added: AttachPlan['added']) => Promise<string>,
  ): Promise<void> {
    const netns = await this.#live?.netnsOf(task.taskId);
    if (netns === undefined) return;
    requireTunnels(task, set, self);
    const dump = (await dumpNamespace(netns, CONTAINER_SYSCTLS)) as NamespaceDump;
    const missing = missingIn(dump, task, set);
    // What a plugin has to make is waited for outside of everybody else's way.
    if (!this.#outside.prepare(task, missing, netns)) return;
    const joins = this.#outside.joinsOf(task.taskId);
    const { batches, added } = rewirePlan(task, set, self, netns, dump, joins);
    await this.#kernel.extend(batches, added);
    this.#outside.moved(task);
    await this.#live?.rewired(task.taskId, await done(task, added));
  }
}

/** Networks that are not Shoal's own, of which the container has no interface. */
function missingIn({ links }: NamespaceDump, task: TaskAssignment, set: AssignmentSet): NetworkAssignment[] {
  const there = new Set(links.map(({ name }) => name));
  return interfacesOf(task, set.networks)
    .filter(({ dev, network }) => network.outside !== undefined && !there.has(dev))
    .map(({ network }) => network);
}

/** Whether a task has interfaces for these addresses, and no others. */
export function hasAll(attached: TaskAssignment | undefined, addresses: readonly TaskAddress[]): boolean {
  const has = attached?.addresses ?? [];
  return (
    has.length === addresses.length &&
    addresses.every(({ network, address }) =>
      has.some((one) => one.network === network && one.address === address),
    )
  );
}
