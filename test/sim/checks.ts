/** The design's invariants, as far as the deciding part can break them. */
import { plan } from '../../manager/plan/plan.ts';
import { gateOf } from '../../manager/plan/reconcile/dependencies.ts';
import { sameJson } from '../../manager/plan/reconcile/dirty.ts';
import { holdsResources, isWanted, revisionKey } from '../../manager/plan/states.ts';
import type { Change, Write } from '../../manager/store/store.ts';
import type { CronMode, Node, Service, ServiceMode, ServiceSpec, Task } from '../../shared/model/index.ts';
import { compareStates, drainOrderOf, isGlobalMode, isJob, isTerminal } from '../../shared/model/index.ts';
import type { World } from './world.ts';

const DESIRED_ORDER: readonly Task['desired'][] = ['ready', 'running', 'complete', 'shutdown', 'remove'];

function fail(message: string): never {
  throw new Error(`invariant broken: ${message}`);
}

/** Watches every change: what must hold at all times. */
export class ContinuousChecks {
  readonly #world: World;
  readonly #holders = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
  }

  watch(): void {
    this.#world.swarm.store.onChange((changes) => {
      // One transaction is one moment: what is given back in it is free for what is given in it.
      for (const change of changes) this.#giveBack(change);
      for (const change of changes) this.#check(change);
    });
  }

  #giveBack(change: Change): void {
    if (change.table === 'tasks') this.#release(change.key, addressesOf(change.before));
    if (change.table === 'services') this.#release(change.key, vipsOf(change.before));
  }

  #check(change: Change): void {
    if (change.table === 'statuses') this.#checkStatus(change);
    if (change.table === 'services' && change.after) this.#hold(change.key, vipsOf(change.after));
    if (change.table === 'tasks' && change.after) {
      this.#hold(change.key, addressesOf(change.after));
      this.#checkTask(change.before, change.after);
    }
  }

  #checkStatus({ key, before, after }: Extract<Change, { table: 'statuses' }>): void {
    if (before === undefined || after === undefined) return;
    if (compareStates(after.state, before.state) < 0)
      fail(`task ${key} went from ${before.state} to ${after.state}`);
  }

  #checkTask(before: Task | undefined, after: Task): void {
    if (before?.nodeId !== undefined) {
      if (before.nodeId !== after.nodeId)
        fail(`task ${after.id} moved from ${before.nodeId} to ${after.nodeId}`);
      const back = DESIRED_ORDER.indexOf(after.desired) < DESIRED_ORDER.indexOf(before.desired);
      if (back) fail(`desired of ${after.id} went from ${before.desired} to ${after.desired}`);
      return;
    }
    if (after.nodeId === undefined) return;
    // A container goes back to where its files are.
    if (after.run !== undefined && after.run.serial > 0) return;
    const node = this.#world.swarm.store.get('nodes', after.nodeId);
    if (node?.status !== 'ready' || node.spec.availability !== 'active') {
      fail(`task ${after.id} was placed on ${after.nodeId}, which takes none`);
    }
    checkReserved(this.#world, node);
  }

  #hold(holder: string, addresses: readonly string[]): void {
    for (const address of addresses) {
      const other = this.#holders.get(address);
      if (other !== undefined && other !== holder)
        fail(`${address} was given to ${holder}, and ${other} has it`);
      this.#holders.set(address, holder);
    }
  }

  #release(holder: string, addresses: readonly string[]): void {
    for (const address of addresses) if (this.#holders.get(address) === holder) this.#holders.delete(address);
  }
}

function addressesOf(task: Task | null | undefined): string[] {
  return (task?.addresses ?? []).map(({ network, address }) => `${network}/${address}`);
}

function vipsOf(service: Service | null | undefined): string[] {
  return (service?.endpoint?.vips ?? []).map(({ network, address }) => `${network}/${address}`);
}

/** Neither what runs nor what will when all that was preempted has ended is more than the node has. */
function checkReserved({ swarm: { store } }: World, { id: nodeId, description }: Node): void {
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
    if (used > (description?.memoryBytes ?? 0)) fail(`node ${nodeId} is over-reserved`);
    const names = some.flatMap(({ granted = [] }) =>
      granted.flatMap((one) => ('names' in one ? one.names : [])),
    );
    if (new Set(names).size < names.length) fail(`node ${nodeId}: given twice: ${names.join(', ')}`);
  }
}

/** Why a task is pending is said when it is looked at: when room is made, not when others take what it could not use. */
function isOtherReason({ swarm }: World, { table, key, value }: Write): boolean {
  const before = table === 'tasks' ? swarm.store.get('tasks', key) : undefined;
  if (before === undefined || value === null || !('pendingReason' in value)) return false;
  return sameJson({ ...before, pendingReason: value.pendingReason }, value);
}

/** What must hold once everything is back and nothing has happened for a while. */
export function checkQuiet(world: World): void {
  const { swarm, time } = world;
  const again = plan(swarm.view(), { dirtyServices: 'all', now: time.now, seed: 'check', limit: 1000 });
  const news = again.writes.filter((write) => !isOtherReason(world, write));
  if (news.length > 0) fail(`a quiet cluster would be written: ${JSON.stringify(news.slice(0, 3))}`);
  if (again.wakeAt !== undefined && again.wakeAt <= time.now) fail('a timer in the past');
  for (const service of swarm.store.all('services').values())
    if (service.run !== undefined) checkSingle(world, service);
    else checkService(world, service, again.starved.has(service.id));
  checkContainers(world);
  for (const id of swarm.store.all('statuses').keys()) {
    if (swarm.store.get('tasks', id) === undefined) fail(`a status without its task: ${id}`);
  }
}

/** `starved`: something of it finds no place, and its update may wait for that. */
function checkService(world: World, service: Service, starved: boolean): void {
  const { store } = world.swarm;
  if (service.removing === true) fail(`service ${service.name} is still being removed`);
  const spec = store.get('revisions', revisionKey(service.id, service.revision))?.spec;
  if (spec === undefined) fail(`service ${service.name} has no revision`);
  const tasks = world.swarm.tasks(service.id);
  const slots = new Map<string, Task[]>();
  for (const task of tasks) {
    const key = isGlobalMode(spec.mode) ? (task.nodeId ?? '') : String(task.slot);
    slots.set(key, [...(slots.get(key) ?? []), task]);
  }
  if (gateOf(world.swarm.view(), service, spec).kind === 'held') {
    checkHeld(service, spec, tasks);
    return;
  }
  let filled = 0;
  for (const [key, members] of slots) filled += checkSlot(world, spec, key, members);
  if (spec.mode.kind === 'replicated' && filled !== spec.mode.replicas) {
    fail(`service ${service.name} has ${filled} slots filled, not ${spec.mode.replicas}`);
  }
  if (spec.mode.kind === 'cron') checkCron(spec.mode, spec.name, tasks);
  else if (isJob(spec.mode)) checkJob(world, service, spec, slots);
  else checkProgress(world, service, spec, tasks);
  if (spec.mode.kind === 'global' && !starved) checkGlobal(world, service, spec, tasks);
  if (spec.mode.kind === 'replicated') checkMoves(world, service, spec, tasks);
  if (service.updateStatus?.state === 'updating' && !starved)
    fail(`the update of ${service.name} does not end`);
}

/** A drained node has none of it left, unless a task says why; at once, none in any case. */
function checkMoves(world: World, { name }: Service, spec: ServiceSpec, tasks: readonly Task[]): void {
  const drained = tasks.filter(({ nodeId, desired }) => {
    const node = world.swarm.store.get('nodes', nodeId ?? '');
    return node?.spec.availability === 'drain' && desired === 'running';
  });
  if (drained.length === 0) return;
  // A replacement by drain or update, or, stop-first, another slot that has to be filled before.
  const says = tasks.some((task) => isWanted(task) && task.pendingReason !== undefined);
  if (drainOrderOf(spec) === 'at-once' || !says)
    fail(`${name} stays on drained nodes: ${JSON.stringify(drained)}`);
}

/** It waits for another service: nothing of it is on a node, and one task says why (a global service has none). */
function checkHeld(service: Service, spec: ServiceSpec, tasks: readonly Task[]): void {
  if (tasks.some(({ nodeId }) => nodeId !== undefined)) fail(`${service.name} is held back and was placed`);
  const expected = Math.min(1, slotsOf(spec.mode));
  const waiting = tasks.filter((task) => task.pendingReason?.startsWith('waits for') === true);
  if (waiting.length !== expected || tasks.length !== expected) {
    fail(`${service.name} is held back with ${tasks.length} tasks, ${waiting.length} of which say so`);
  }
}

/** How many slots it has that are not a node's each or a time's each. */
function slotsOf(mode: ServiceMode): number {
  if (mode.kind === 'replicated') return mode.replicas;
  return mode.kind === 'replicated-job' ? Math.min(mode.totalCompletions, mode.maxConcurrent) : 0;
}

/** A container: at most one task lives, all on one node, and it is as wanted if it can be. */
function checkSingle(world: World, { name, id, run, removing }: Service): void {
  const { swarm } = world;
  if (removing === true) fail(`container ${name} is still being removed`);
  const tasks = swarm.tasks(id);
  const nodes = new Set(tasks.flatMap(({ nodeId }) => nodeId ?? []));
  if (nodes.size > 1) fail(`container ${name} was on ${[...nodes].join(', ')}`);
  if (tasks.length !== 1) fail(`container ${name} has ${tasks.length} tasks`);
  const [task] = tasks;
  if (task === undefined) return;
  const state = swarm.stateOf(task);
  const spec = swarm.store.get('revisions', revisionKey(id, 1))?.spec;
  const ran = swarm.store.get('statuses', task.id)?.startedAtMs !== undefined;
  if (run?.wanted === 'running' && spec?.restart.condition === 'any' && ran) {
    if (state !== 'running' && state !== 'orphaned')
      fail(`container ${name} is ${state}, and shall always run`);
  }
  if (run?.wanted === 'stopped' && (task.run?.serial ?? 0) > 0 && !isTerminal(state))
    fail(`container ${name} is ${state}, and was stopped`);
}

/** 1 when the slot is filled. */
function checkSlot(world: World, spec: ServiceSpec, key: string, members: readonly Task[]): number {
  const wanted = members.filter((task) => isWanted(task) || task.desired === 'complete');
  // Start-first with no place for the new one: the old one stays.
  const placed = wanted.filter(({ nodeId }) => nodeId !== undefined);
  if (placed.length > 1 || wanted.length - placed.length > 1) {
    fail(`slot ${key} of ${spec.name} has ${wanted.length} wanted tasks: ${JSON.stringify(wanted)}`);
  }
  const { taskHistoryLimit } = world.swarm.view().cluster;
  const attempts = spec.restart.maxAttempts === 0 ? 0 : spec.restart.maxAttempts + 1;
  const history = members.length - wanted.length;
  if (history > Math.max(taskHistoryLimit, attempts, 1))
    fail(`slot ${key} of ${spec.name}: ${history} in history`);
  return wanted.length > 0 ? 1 : 0;
}

/** No more completions than asked for (one may happen twice, when a node was given up and was not lost); what is missing failed for good, or finds no place. */
function checkJob(
  world: World,
  service: Service,
  { name, mode }: ServiceSpec,
  slots: ReadonlyMap<string, readonly Task[]>,
): void {
  const isOver = (task: Task): boolean => isTerminal(world.swarm.stateOf(task));
  for (const members of slots.values()) {
    if (members.some(({ revision }) => revision !== service.revision))
      fail(`an old execution of ${name} is kept`);
    for (const task of members.filter((one) => isWanted(one) && !isOver(one))) {
      if (task.pendingReason === undefined) fail(`task ${task.id} of the job ${name} does not end`);
    }
  }
  if (mode.kind !== 'replicated-job') return;
  if (slots.size > mode.totalCompletions) fail(`${name} has ${slots.size} slots`);
  if (mode.maxConcurrent > 0 && slots.size < mode.totalCompletions) {
    const pending = [...slots.values()].flat().some((task) => isWanted(task));
    if (!pending) fail(`${name} ran ${slots.size} of ${mode.totalCompletions}`);
  }
}

/** Each time of the schedule has one run at most, and no more runs are kept than asked for and those under way. */
function checkCron(mode: CronMode, name: string, tasks: readonly Task[]): void {
  const runs = new Map<number, number>();
  for (const { slot, scheduledAtMs } of tasks) {
    if (scheduledAtMs === undefined) fail(`a run of ${name} has no time`);
    if ((runs.get(scheduledAtMs) ?? slot) !== slot) fail(`${name} ran twice for ${scheduledAtMs}`);
    runs.set(scheduledAtMs, slot);
  }
  const active = new Set(tasks.filter(isWanted).map(({ slot }) => slot)).size;
  // One that was just stopped or has just ended goes with the next plan.
  if (runs.size > mode.history + active + 1) fail(`${runs.size} runs of ${name} are kept`);
}

/** Everything wanted runs, or is pending and says why. */
function checkProgress(world: World, service: Service, spec: ServiceSpec, tasks: readonly Task[]): void {
  for (const task of tasks.filter(isWanted)) {
    const state = world.swarm.stateOf(task);
    if (state === 'pending' && task.pendingReason !== undefined) continue;
    const node = world.swarm.store.get('nodes', task.nodeId ?? '');
    // A paused node's global task that ended waits for the node.
    if (spec.mode.kind === 'global' && isTerminal(state) && node?.spec.availability !== 'active') continue;
    if (state !== 'running') fail(`task ${task.id} of ${service.name} is ${state}, desired ${task.desired}`);
  }
}

function checkGlobal(world: World, service: Service, spec: ServiceSpec, tasks: readonly Task[]): void {
  const missing = [...world.swarm.store.all('nodes').values()].filter(
    ({ id, status, spec: { availability } }) =>
      status === 'ready' && availability === 'active' && !tasks.some(({ nodeId }) => nodeId === id),
  );
  if (missing.length > 0 && spec.placement.constraints.length === 0) {
    fail(`global ${service.name} is missing on ${missing.map(({ id }) => id).join(', ')}`);
  }
}

/** Exactly what is desired runs on the machines. */
function checkContainers({ swarm, agents }: World): void {
  for (const agent of agents.values()) {
    const desired = new Set<string>();
    for (const id of swarm.store.tasksOfNode(agent.nodeId)) {
      const task = swarm.store.get('tasks', id);
      if (task?.desired === 'running' && !isTerminal(swarm.stateOf(task))) desired.add(id);
    }
    for (const id of agent.containers) if (!desired.has(id)) fail(`zombie ${id} on ${agent.nodeId}`);
    for (const id of desired) if (!agent.containers.has(id)) fail(`${id} does not run on ${agent.nodeId}`);
  }
}
