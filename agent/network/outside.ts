/** Networks that are not Shoal's own, on this node: which it can be on, and what plugins make for its containers. */
import type {
  AssignmentSet,
  NetworkAssignment,
  NodeDrivers,
  TaskAssignment,
} from '../../shared/model/index.ts';
import type { Joins } from './container-scope.ts';
import type { NetworkDriverOptions } from './driver-options.ts';
import type { NamespaceDump } from './observe.ts';
import { outsideNetworks, parentsIn } from './outside-links.ts';
import type { Plugins } from './plugin/plugins.ts';

export class Outside {
  readonly #macvlan: boolean;
  readonly #plugins: Plugins | undefined;

  constructor({ macvlan = false, plugins }: Pick<NetworkDriverOptions, 'macvlan' | 'plugins'>) {
    this.#macvlan = macvlan;
    this.#plugins = plugins;
  }

  /** `dump` is what the host's own namespace holds. Undefined: Shoal's own networks only. */
  drivers(dump: NamespaceDump): NodeDrivers | undefined {
    const plugins = this.#plugins?.usable ?? [];
    if (!this.#macvlan && plugins.length === 0) return undefined;
    return {
      ...(this.#macvlan ? { macvlanParents: parentsIn(dump) } : {}),
      ...(plugins.length === 0 ? {} : { plugins }),
    };
  }

  /** What plugins have to make for a task, before anything else, and while others are attached. */
  async join(task: TaskAssignment, set: AssignmentSet, netns: string): Promise<void> {
    await this.#plugins?.join(task, outsideNetworks(task, set), netns);
  }

  /** As Plugins.prepare. */
  prepare(task: TaskAssignment, networks: readonly NetworkAssignment[], netns: string): boolean {
    return this.#plugins?.prepare(task, networks, netns) ?? true;
  }

  joinsOf(taskId: string): Joins | undefined {
    return this.#plugins?.joinsOf(taskId);
  }

  /** The task's container has its interfaces. */
  moved(task: TaskAssignment): void {
    this.#plugins?.moved(task);
  }

  /** Gives back to plugins what other tasks and networks than these had. */
  settle(tasks: readonly TaskAssignment[], networks: readonly NetworkAssignment[]): void {
    this.#plugins?.settle(tasks, new Set(networks.map(({ networkId }) => networkId)));
  }

  /** There may be something to give back. */
  get owes(): boolean {
    return this.#plugins?.owes === true;
  }

  close(): void {
    this.#plugins?.close();
  }
}
