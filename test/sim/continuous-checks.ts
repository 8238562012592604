/** The design's invariants that must hold at every moment, whatever goes wrong meanwhile. */
import { holdsResources, revisionKey } from '../../manager/plan/states.ts';
import type { Change } from '../../manager/store/store.ts';
import type { Node, Service, Task, TaskAssignment } from '../../shared/model/index.ts';
import { compareStates, INGRESS_NETWORK_ID } from '../../shared/model/index.ts';
import type { Transaction } from './sim-etcd.ts';
import type { SimMachine } from './sim-machine.ts';
import type { World } from './world.ts';

const DESIRED_ORDER: readonly Task['desired'][] = ['ready', 'running', 'complete', 'shutdown', 'remove'];
/** Design, section 4. */
const MAX_TASK_BYTES = 400;
/** A replacement waits a minute at most for the one before it to stop; which then has still to be stopped. */
const MAX_DOUBLE_MS = 75_000;
const SAMPLE_MS = 5000;
/** When nothing has happened for long. */
const SAMPLE_QUIET_MS = 60_000;
const QUIET_AFTER_MS = 300_000;
/** After a trouble is over, what it did may still show for so long. */
const AFTERMATH_MS = 15_000;
/** Of a task that is to stop; as start-dispatcher.ts has it. */
const WITHDRAW_TIMEOUT_MS = 2000;

export class ContinuousChecks {
  readonly #world: World;
  readonly #holders = new Map<string, string>();
  readonly #launched = new Set<string>();
  /** When tasks were told to stop. */
  readonly #stopping = new Map<string, number>();
  readonly #doubleSince = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  watch(): void {
    this.#world.swarm.store.onChange((changes) => {
      // One transaction is one moment: what is given back in it is free for what is given in it.
      for (const change of changes) this.#giveBack(change);
      for (const change of changes) this.#check(change);
    });
    this.#world.time.world(SAMPLE_MS, () => this.#sample());
  }

  /** Does not throw: whoever is in the middle of something must not take it for a failure of its own. */
  fail(message: string): void {
    this.#world.time.failure ??= new Error(`invariant broken: ${message}`);
  }

  /** A manager wrote something. Only one that leads makes, changes and deletes tasks. */
  written({ manager, writes, fence }: Transaction): void {
    const { leader } = this.#world.swarm.store;
    const ofLeader = writes.find(({ table }) => table === 'tasks');
    if (ofLeader !== undefined && fence !== leader?.createRevision)
      this.fail(`${manager} wrote ${ofLeader.table}/${ofLeader.key} and does not lead`);
  }

  /** A container was started on a machine. */
  launched({ nodeId }: SimMachine, { taskId }: TaskAssignment): void {
    if (this.#launched.has(taskId)) this.fail(`task ${taskId} was run a second time, on ${nodeId}`);
    this.#launched.add(taskId);
  }

  /**
   * A container gets its signal. Nodes that the same manager had told to lead traffic to it must have confirmed that they
   * do not any more, or have had their time to.
   */
  signalled(machine: SimMachine, taskId: string): void {
    const { time, swarm, machines, managers } = this.#world;
    const sinceMs = this.#stopping.get(taskId);
    const { session } = machine;
    if (sinceMs === undefined || session === undefined || swarm.store.get('tasks', taskId) === undefined)
      return;
    if (session.sinceMs >= sinceMs || time.now - sinceMs >= WITHDRAW_TIMEOUT_MS) return;
    for (const other of machines.values()) {
      const there = other.session;
      if (there?.manager !== session.manager || there.sinceMs >= sinceMs) continue;
      // Of a node that is cut off nobody waits for a confirmation.
      if (managers.get(session.manager)?.dispatcher?.session(other.nodeId) === undefined) continue;
      // One that has no container on the network any more leads nothing there, whatever its kernel still says.
      const serving = [...other.applied.endpoints.values()].find(
        (row) => row.taskId === taskId && row.serving && isUsed(other, row.networkId),
      );
      if (serving !== undefined)
        this.fail(`task ${taskId} got its signal while ${other.nodeId} led traffic to ${serving.address}`);
    }
  }

  #giveBack(change: Change): void {
    if (change.table === 'tasks') this.#release(change.key, addressesOf(change.before));
    if (change.table === 'services') this.#release(change.key, endpointOf(change.before));
  }

  #check(change: Change): void {
    if (change.table === 'statuses') this.#checkStatus(change);
    if (change.table === 'services' && change.after) this.#hold(change.key, endpointOf(change.after));
    if (change.table === 'nodes' && change.after) this.#checkNode(change.before, change.after);
    if (change.table === 'tasks' && change.after) {
      this.#hold(change.key, addressesOf(change.after));
      this.#checkTask(change.before, change.after);
      this.#noteStop(change.before, change.after);
    }
  }

  #noteStop(before: Task | undefined, { id, desired }: Task): void {
    const isStop = desired !== 'ready' && desired !== 'running';
    if (!isStop || (before !== undefined && this.#stopping.has(id))) return;
    this.#stopping.set(id, this.#world.time.now);
  }

  #checkStatus({ key, before, after }: Extract<Change, { table: 'statuses' }>): void {
    if (before === undefined || after === undefined) return;
    if (compareStates(after.state, before.state) < 0)
      this.fail(`task ${key} went from ${before.state} to ${after.state}`);
  }

  #checkTask(before: Task | undefined, after: Task): void {
    // What few tasks have, as long as its names are, does not count.
    const { pendingReason: _why, granted: _names, preemptedBy: _by, ...record } = after;
    const bytes = JSON.stringify(record).length;
    if (bytes > MAX_TASK_BYTES) this.fail(`the record of task ${after.id} has ${bytes} bytes`);
    if (before?.nodeId !== undefined) {
      if (before.nodeId !== after.nodeId)
        this.fail(`task ${after.id} moved from ${before.nodeId} to ${after.nodeId}`);
      const back = DESIRED_ORDER.indexOf(after.desired) < DESIRED_ORDER.indexOf(before.desired);
      if (back) this.fail(`desired of ${after.id} went from ${before.desired} to ${after.desired}`);
      return;
    }
    if (after.nodeId === undefined) return;
    // A container goes back to where its files are.
    if (after.run !== undefined && after.run.serial > 0) return;
    const node = this.#world.swarm.store.get('nodes', after.nodeId);
    if (node?.status !== 'ready' || node.spec.availability !== 'active')
      return this.fail(`task ${after.id} was placed on ${after.nodeId}, which takes none`);
    const problem = overReserved(this.#world, node);
    if (problem !== undefined) this.fail(problem);
  }

  /** No false alarm: a node that is called down has, or just had, something the matter with it. */
  #checkNode(before: Node | undefined, after: Node): void {
    if (after.status !== 'down' || before?.status === 'down') return;
    const { machines, time, managersTroubledAtMs, network } = this.#world;
    const machine = machines.get(after.id);
    if (machine === undefined || !machine.powered || machine.agent?.alive !== true) return;
    if (network.partitionOf(after.id) !== 'none') return;
    const troubledAtMs = Math.max(machine.troubledAtMs, managersTroubledAtMs);
    if (time.now - troubledAtMs > AFTERMATH_MS)
      this.fail(`${after.id} was called down (${after.statusMessage}), and nothing is the matter with it`);
  }

  #hold(holder: string, things: readonly string[]): void {
    for (const thing of things) {
      const other = this.#holders.get(thing);
      if (other !== undefined && other !== holder)
        this.fail(`${thing} was given to ${holder}, and ${other} has it`);
      this.#holders.set(thing, holder);
    }
  }

  #release(holder: string, things: readonly string[]): void {
    for (const thing of things) if (this.#holders.get(thing) === holder) this.#holders.delete(thing);
  }

  /** From time to time: whether a slot has more than one container running, and for how long without an excuse. */
  #sample(): void {
    const { time, troubledAtMs } = this.#world;
    const isQuiet = time.now - troubledAtMs > QUIET_AFTER_MS;
    time.world(isQuiet ? SAMPLE_QUIET_MS : SAMPLE_MS, () => this.#sample());
    const running = this.#runningBySlot();
    for (const slot of this.#doubleSince.keys())
      if ((running.get(slot)?.length ?? 0) < 2) this.#doubleSince.delete(slot);
    for (const [slot, ids] of running) {
      if (ids.length < 2) continue;
      const sinceMs = Math.max(this.#doubleSince.get(slot) ?? time.now, troubledAtMs);
      this.#doubleSince.set(slot, sinceMs);
      if (time.now - sinceMs > MAX_DOUBLE_MS)
        this.fail(`slot ${slot} has run ${ids.join(' and ')} since ${(time.now - sinceMs) / 1000} s`);
    }
  }

  #runningBySlot(): Map<string, string[]> {
    const running = new Map<string, string[]>();
    for (const machine of this.#world.machines.values()) {
      for (const { task } of machine.running) {
        const kind = task.spec.mode.kind;
        const place = kind === 'global' || kind === 'global-job' ? machine.nodeId : String(task.slot);
        const key = `${task.serviceId}/${place}`;
        running.set(key, [...(running.get(key) ?? []), task.taskId]);
      }
    }
    return running;
  }
}

function isUsed(machine: SimMachine, networkId: string): boolean {
  if (networkId === INGRESS_NETWORK_ID) return true;
  return machine.running.some(({ task }) => task.addresses.some(({ network }) => network === networkId));
}

function addressesOf(task: Task | null | undefined): string[] {
  return (task?.addresses ?? []).map(({ network, address }) => `${network}/${address}`);
}

/** Virtual addresses and published ports. */
function endpointOf(service: Service | null | undefined): string[] {
  const { vips = [], ports = [] } = service?.endpoint ?? {};
  const published = ports.filter(({ mode }) => mode === 'ingress');
  return [
    ...vips.map(({ network, address }) => `${network}/${address}`),
    ...published.map(({ protocol, publishedPort }) => `port ${publishedPort}/${protocol}`),
  ];
}

/** Neither what runs nor what will when all that was preempted has ended is more than the node has. */
function overReserved({ swarm: { store } }: World, { id: nodeId, description }: Node): string | undefined {
  const tasks = [...store.tasksOfNode(nodeId)].flatMap((id) => {
    const task = store.get('tasks', id);
    return task !== undefined && holdsResources(task, store.get('statuses', id)) ? [task] : [];
  });
  for (const some of [
    tasks.filter(({ preempting }) => preempting !== true),
    tasks.filter(({ preemptedBy }) => preemptedBy === undefined),
  ]) {
    const specOf = ({ serviceId, revision }: Task) =>
      store.get('revisions', revisionKey(serviceId, revision))?.spec;
    const used = some.reduce((sum, task) => sum + (specOf(task)?.reservations.memoryBytes ?? 0), 0);
    if (used > (description?.memoryBytes ?? 0)) return `node ${nodeId} is over-reserved`;
    const names = some.flatMap(({ granted = [] }) =>
      granted.flatMap((one) => ('names' in one ? one.names : [])),
    );
    if (new Set(names).size < names.length) return `node ${nodeId}: given twice: ${names.join(', ')}`;
  }
  return undefined;
}
