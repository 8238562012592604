/** Which services the leader has to plan again: those that a change may matter to, and those whose time has come. */
import type { Node, ServiceSpec, Task, TaskStatus } from '../../shared/model/index.ts';
import { isGlobalMode, isTerminal } from '../../shared/model/index.ts';
import { revisionKey } from '../plan/states.ts';
import { Waiters } from './waiters.ts';
import type { Plan } from '../plan/plan.ts';
import type { Recommendations } from '../plan/reconcile/autoscale.ts';
import type { Change, Store } from '../store/store.ts';

export interface Taken {
  readonly services: ReadonlySet<string> | 'all';
}

/** What a plan says of when and why to look again, and what the next one has to know. */
type Planned = Pick<Plan, 'timers' | 'starved' | 'waits' | 'recommended'>;

export const NOTHING_PLANNED: Planned = {
  timers: new Map(),
  starved: new Set(),
  waits: new Map(),
  recommended: new Map(),
};

export class DirtyServices {
  readonly #store: Store;
  #all = true;
  /** A network waits for its subnet: worth a plan without any service. */
  #networks = false;
  #services = new Set<string>();
  /** Tasks of theirs have come further: worth a look, but not one for each. */
  #progressed = new Set<string>();
  /** Of as much worth to those that follow nodes. Thousands of nodes may change before they are looked at, once. */
  #nodesChanged = false;
  /** Something of theirs found no place; looked at again when room may have been made. */
  readonly #starved = new Set<string>();
  /** Those of them that want to be near to tasks of others: looked at again when any task finds a node. */
  readonly #followers = new Set<string>();
  readonly #timers = new Map<string, number>();
  readonly #waiters = new Waiters();
  /** Of services that are scaled by use. */
  readonly #recommended = new Map<string, Recommendations>();

  constructor(store: Store) {
    this.#store = store;
  }

  get isEmpty(): boolean {
    return !this.isUrgent && !this.#nodesChanged && this.#progressed.size === 0;
  }

  /** Not all that is dirty can wait. */
  get isUrgent(): boolean {
    return this.#all || this.#networks || this.#services.size > 0;
  }

  get recommended(): ReadonlyMap<string, Recommendations> {
    return this.#recommended;
  }

  addAll(): void {
    this.#all = true;
  }

  add(services: Iterable<string> | 'all'): void {
    if (services === 'all') this.#all = true;
    else for (const id of services) this.#services.add(id);
  }

  /** Everything that is dirty now, or all of it that can not wait; which then is not. */
  take(only: 'everything' | 'urgent' = 'everything'): Taken {
    if (only === 'everything') {
      this.add(this.#progressed);
      if (this.#nodesChanged && !this.#all) this.add(this.#nodeFollowers());
    }
    const services = this.#all ? 'all' : this.#services;
    if (only === 'everything' || this.#all) {
      this.#progressed = new Set();
      this.#nodesChanged = false;
    }
    this.#all = false;
    this.#networks = false;
    this.#services = new Set();
    return { services };
  }

  /** What a plan for `taken` said about when and why to look again. */
  planned(taken: Taken, { timers, starved, waits, recommended }: Planned): void {
    this.#waiters.planned(taken.services, waits);
    for (const [id, history] of recommended) this.#recommended.set(id, history);
    if (taken.services === 'all') {
      this.#timers.clear();
      this.#starved.clear();
      this.#followers.clear();
    } else {
      for (const id of taken.services) {
        this.#timers.delete(id);
        this.#starved.delete(id);
        this.#followers.delete(id);
      }
    }
    for (const [id, at] of timers) this.#timers.set(id, at);
    for (const id of starved) {
      this.#starved.add(id);
      if (this.#followsOthers(id)) this.#followers.add(id);
    }
  }

  /** Its tasks may wait for those of another service to have a node. */
  #followsOthers(id: string): boolean {
    const revision = this.#store.get('services', id)?.revision;
    const spec =
      revision === undefined ? undefined : this.#store.get('revisions', revisionKey(id, revision))?.spec;
    return (spec?.placement.affinities?.length ?? 0) > 0;
  }

  /** Makes those dirty whose time has come. */
  expire(now: number): void {
    for (const [id, at] of this.#timers) {
      if (at > now) continue;
      this.#timers.delete(id);
      this.#services.add(id);
    }
  }

  /** When the next time comes; undefined when there is none. */
  nextTimer(): number | undefined {
    let next: number | undefined;
    for (const at of this.#timers.values()) if (next === undefined || at < next) next = at;
    return next;
  }

  note(changes: readonly Change[]): void {
    for (const change of changes) this.#noteOne(change);
  }

  #noteOne(change: Change): void {
    switch (change.table) {
      case 'cluster':
        this.#all = true;
        return;
      case 'services':
        this.#services.add(change.key);
        if (change.after === undefined) this.#recommended.delete(change.key);
        this.#noteWaiters(change.after?.name ?? change.before?.name);
        if (change.after === undefined || change.before?.endpoint !== change.after.endpoint) this.#noteRoom();
        // Its priority may be lower now.
        else if (change.before?.revision !== change.after.revision) this.#noteRoom();
        return;
      case 'tasks':
        this.#noteTask(change.before, change.after);
        return;
      case 'statuses':
        this.#noteStatus(change.key, change.before, change.after);
        return;
      case 'nodes':
        this.#noteNode(change.key, change.before, change.after);
        return;
      case 'networks':
        this.#networks ||= change.after !== undefined && change.after.allocation === undefined;
        this.#noteRoom();
        return;
      default:
        return;
    }
  }

  #noteTask(before: Task | undefined, after: Task | undefined): void {
    const serviceId = after?.serviceId ?? before?.serviceId;
    if (serviceId !== undefined) {
      this.#services.add(serviceId);
      this.#noteWaiters(this.#store.get('services', serviceId)?.name);
    }
    if (after === undefined) this.#noteRoom();
    if (after === undefined && before?.preemptedBy !== undefined) this.#noteNodeOf(before);
    if (after?.nodeId !== undefined && before?.nodeId === undefined)
      for (const id of this.#followers) this.#services.add(id);
  }

  #noteStatus(taskId: string, before: TaskStatus | undefined, after: TaskStatus | undefined): void {
    if (after !== undefined && before?.state === after.state && before.health === after.health) return;
    const task = this.#store.get('tasks', taskId);
    const ended = after !== undefined && isTerminal(after.state);
    if (task !== undefined) {
      (ended ? this.#services : this.#progressed).add(task.serviceId);
      this.#noteWaiters(this.#store.get('services', task.serviceId)?.name);
    }
    if (ended) {
      this.#noteRoom();
      if (task?.preemptedBy !== undefined) this.#noteNodeOf(task);
    }
  }

  /** Tasks of the same node may have waited for this one to end. */
  #noteNodeOf({ nodeId }: Task): void {
    if (nodeId === undefined) return;
    for (const id of this.#store.tasksOfNode(nodeId)) {
      const task = this.#store.get('tasks', id);
      if (task?.preempting === true) this.#services.add(task.serviceId);
    }
  }

  #noteNode(nodeId: string, before: Node | undefined, after: Node | undefined): void {
    const same = before !== undefined && after !== undefined && samePlaces(before, after);
    if (same && before.status === after.status && sameDrivers(before, after)) return;
    // What a node runs is left alone while it is not down: thousands come back after a restart of the manager.
    if (!same || before.status === 'down' || after.status === 'down') {
      for (const taskId of this.#store.tasksOfNode(nodeId)) {
        const task = this.#store.get('tasks', taskId);
        if (task !== undefined) this.#services.add(task.serviceId);
      }
    }
    this.#nodesChanged = true;
  }

  /** Where there is room, and how many tasks there should be, may follow from any node. */
  #nodeFollowers(): string[] {
    const following = [...this.#store.all('services').values()].filter(({ id, revision }) => {
      const spec = this.#store.get('revisions', revisionKey(id, revision))?.spec;
      return spec !== undefined && followsNodes(spec);
    });
    return [...this.#starved, ...this.#waiters.all(), ...following.map(({ id }) => id)];
  }

  #noteWaiters(name: string | undefined): void {
    if (name !== undefined) this.add(this.#waiters.of(name));
  }

  #noteRoom(): void {
    for (const id of this.#starved) this.#services.add(id);
  }
}

/** How many tasks it should have, or where they lie best, follows from the nodes. */
function followsNodes({ mode, rebalanceEveryMs }: ServiceSpec): boolean {
  return isGlobalMode(mode) || rebalanceEveryMs !== undefined;
}

/** Nothing but its status changed that placement looks at. */
function sameDrivers(before: Node, after: Node): boolean {
  return (
    JSON.stringify(before.drivers) === JSON.stringify(after.drivers) &&
    JSON.stringify(before.devices) === JSON.stringify(after.devices) &&
    JSON.stringify(before.confinement) === JSON.stringify(after.confinement)
  );
}

function samePlaces(before: Node, after: Node): boolean {
  return (
    JSON.stringify(before.spec) === JSON.stringify(after.spec) &&
    JSON.stringify(before.description) === JSON.stringify(after.description)
  );
}
