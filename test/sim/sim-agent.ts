/** An agent in simulated time: takes full sets, walks each task through its states, reports over a bad link. */
import { isWanted } from '../../manager/plan/states.ts';
import type { Task, TaskState, TaskStatus } from '../../shared/model/index.ts';
import { compareStates, isTerminal } from '../../shared/model/index.ts';
import type { World } from './world.ts';

interface LocalTask {
  readonly id: string;
  state: TaskState;
  desired: Task['desired'];
  startedAtMs: number | undefined;
  /** A step is under way. */
  busy: boolean;
}

const NEXT: Partial<Record<TaskState, TaskState>> = {
  accepted: 'preparing',
  preparing: 'ready',
  ready: 'starting',
  starting: 'running',
};

export class SimAgent {
  readonly nodeId: string;
  connected = true;
  alive = true;
  /** What really runs on the machine. */
  readonly containers = new Set<string>();
  readonly #tasks = new Map<string, LocalTask>();
  readonly #world: World;

  constructor(world: World, nodeId: string) {
    this.#world = world;
    this.nodeId = nodeId;
  }

  /** The full set arrives. What is not in it is stopped and forgotten. */
  receive(assigned: readonly Task[]): void {
    if (!this.connected || !this.alive) return;
    const ids = new Set(assigned.map(({ id }) => id));
    for (const [id] of this.#tasks) {
      if (ids.has(id)) continue;
      this.containers.delete(id);
      this.#tasks.delete(id);
    }
    for (const { id, desired } of assigned) {
      const known = this.#tasks.get(id);
      if (known === undefined) this.#accept(id, desired);
      else {
        known.desired = desired;
        this.#kick(known);
      }
    }
  }

  /** The machine loses power: what ran is gone, what the agent wrote down is not. */
  crash(): void {
    this.alive = false;
    this.connected = false;
    this.containers.clear();
  }

  /** Back on the network: finds its containers, or not, and says how everything stands. */
  comeBack(): void {
    this.alive = true;
    this.connected = true;
    for (const task of this.#tasks.values()) {
      task.busy = false;
      const lost = !this.containers.has(task.id) && (task.state === 'running' || task.state === 'starting');
      if (lost) this.#to(task, 'failed');
      else this.#report(task);
      this.#kick(task);
    }
  }

  #accept(id: string, desired: Task['desired']): void {
    const task: LocalTask = { id, state: 'assigned', desired, startedAtMs: undefined, busy: false };
    this.#tasks.set(id, task);
    // A task whose record says that it ended is never run again.
    const reported = this.#world.swarm.store.get('statuses', id)?.state;
    if (reported !== undefined && compareStates(reported, 'accepted') > 0) {
      task.state = isTerminal(reported) ? reported : 'failed';
      if (task.state !== reported) this.#report(task);
      return;
    }
    this.#to(task, 'accepted');
    this.#kick(task);
  }

  #kick(task: LocalTask): void {
    if (task.busy || !this.alive || isTerminal(task.state)) return;
    const stop = !isWanted({ desired: task.desired } as Task);
    const wait = task.desired === 'ready' && task.state === 'ready';
    if (!stop && (wait || task.state === 'running')) return;
    task.busy = true;
    const ms = stop ? this.#world.random.below(2000) : 1 + this.#world.random.below(300);
    this.#world.time.in(ms, () => this.#step(task));
  }

  #step(task: LocalTask): void {
    if (!this.alive || !task.busy || this.#tasks.get(task.id) !== task) return;
    task.busy = false;
    if (isTerminal(task.state)) return;
    if (!isWanted({ desired: task.desired } as Task)) {
      this.containers.delete(task.id);
      this.#to(task, 'shutdown');
      return;
    }
    const next = NEXT[task.state];
    if (next === undefined || (task.desired === 'ready' && task.state === 'ready')) return;
    if (this.#world.failsNow(task.state)) {
      this.containers.delete(task.id);
      this.#to(task, task.state === 'preparing' ? 'rejected' : 'failed');
      return;
    }
    if (next === 'running') {
      this.containers.add(task.id);
      task.startedAtMs = this.#world.time.now;
      this.#world.time.in(this.#world.lifetime(), () => this.#die(task));
    }
    this.#to(task, next);
    this.#kick(task);
  }

  /** The container's process ends by itself, if the world says so. */
  #die(task: LocalTask): void {
    const job = this.#world.isJob(task.id);
    const fails = this.#world.failsNow('running');
    if (!this.alive || task.state !== 'running' || !(fails || job)) return;
    this.containers.delete(task.id);
    const completes = job ? !fails : this.#world.random.below(4) === 0;
    this.#to(task, completes ? 'complete' : 'failed');
  }

  #to(task: LocalTask, state: TaskState): void {
    task.state = state;
    this.#report(task);
  }

  #report(task: LocalTask): void {
    if (!this.connected) return;
    const status: TaskStatus = {
      taskId: task.id,
      state: task.state,
      atMs: this.#world.time.now,
      message: task.state,
      ...(task.startedAtMs === undefined ? {} : { startedAtMs: task.startedAtMs }),
    };
    this.#world.carry(this.nodeId, status);
  }
}
