/** What must hold once a cluster has come to rest: the design's invariants, and that exactly the desired set runs. */
import { plan } from '../../manager/plan/plan.ts';
import { gateOf } from '../../manager/plan/reconcile/dependencies.ts';
import { sameJson } from '../../manager/plan/reconcile/dirty.ts';
import { assignmentsFor } from '../../manager/dispatcher/assignments.ts';
import type { AssignmentView } from '../../manager/dispatcher/assignment-rows.ts';
import { isWanted, revisionKey } from '../../manager/plan/states.ts';
import type { Write } from '../../manager/store/store.ts';
import type { CronMode, Service, ServiceMode, ServiceSpec, Task } from '../../shared/model/index.ts';
import {
  ASSIGNMENT_TABLES,
  drainOrderOf,
  isGlobalMode,
  isJob,
  isTerminal,
  replicasOf,
} from '../../shared/model/index.ts';
import { sameData } from '../../shared/wire/assignment-diff.ts';
import type { SimMachine } from './sim-machine.ts';
import type { World } from './world.ts';

function fail(message: string): never {
  throw new Error(`invariant broken: ${message}`);
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
  checkLeftovers(world);
  for (const machine of world.machines.values()) checkMachine(world, machine);
  for (const { id, dispatcher } of world.managers.values()) {
    const refused = dispatcher?.counts.statuses.refuse;
    if (refused !== 0) fail(`${id} refused ${refused} reports: a node spoke of a task that is not its own`);
  }
  if (swarm.store.revision !== world.idleRevision) fail('something was written though nothing happened');
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
  const replicas = replicasOf(service, spec);
  if (replicas !== undefined && filled !== replicas) {
    fail(`service ${service.name} has ${filled} slots filled, not ${replicas}`);
  }
  if (spec.mode.kind === 'cron') checkCron(spec.mode, spec.name, tasks);
  else if (isJob(spec.mode)) checkJob(world, service, spec, slots);
  else checkProgress(world, service, spec, tasks);
  if (spec.mode.kind === 'global' && !starved) checkGlobal(world, service, spec, tasks);
  if (spec.mode.kind === 'replicated') checkMoves(world, service, spec, tasks);
  const unscaled = starved ? undefined : world.load?.problem(service, spec);
  if (unscaled !== undefined) fail(unscaled);
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
  const expected = Math.min(1, replicasOf(service, spec) ?? slotsOf(spec.mode));
  const waiting = tasks.filter((task) => task.pendingReason?.startsWith('waits for') === true);
  if (waiting.length !== expected || tasks.length !== expected) {
    fail(`${service.name} is held back with ${tasks.length} tasks, ${waiting.length} of which say so`);
  }
}

/** How many slots a job has that are not a node's each or a time's each. */
function slotsOf(mode: ServiceMode): number {
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
    // Where its node was removed, its files went too.
    const hasNode = swarm.store.get('nodes', task.nodeId ?? '') !== undefined;
    if (state !== 'running' && state !== 'orphaned' && hasNode)
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

/** Exactly what is desired runs on the machines, and nothing is left there of what is over. */
function checkMachine(world: World, machine: SimMachine): void {
  const { swarm } = world;
  const { nodeId } = machine;
  if (swarm.store.get('nodes', nodeId)?.status !== 'ready') fail(`${nodeId} is back, and not ready`);
  const desired = new Set<string>();
  for (const id of swarm.store.tasksOfNode(nodeId)) {
    const task = swarm.store.get('tasks', id);
    if (task?.desired === 'running' && !isTerminal(swarm.stateOf(task))) desired.add(id);
  }
  const running = new Set(machine.running.map(({ taskId }) => taskId));
  for (const id of running) if (!desired.has(id)) fail(`zombie ${id} on ${nodeId}`);
  for (const id of desired) if (!running.has(id)) fail(`${id} does not run on ${nodeId}`);
  for (const id of machine.containers.keys())
    if (swarm.store.get('tasks', id) === undefined)
      fail(`${nodeId} keeps the container of ${id}, which is no more`);
  checkAssignments(world, machine);
}

/** What came over the wire, in many pieces, is what it would be if it were computed now; and the kernel is like that. */
function checkAssignments({ swarm: { store } }: World, { nodeId, told, applied }: SimMachine): void {
  const view: AssignmentView = {
    nodes: store.all('nodes'),
    services: store.all('services'),
    revisions: store.all('revisions'),
    tasks: store.all('tasks'),
    statuses: store.all('statuses'),
    networks: store.all('networks'),
    secret: () => undefined,
    config: () => undefined,
    tasksOfNode: (id) => store.tasksOfNode(id),
    tasksOfService: (id) => store.tasksOfService(id),
  };
  const expected = assignmentsFor(view, nodeId, new Set());
  if (applied !== told) fail(`the kernel of ${nodeId} is not as its agent was told`);
  for (const table of ASSIGNMENT_TABLES) {
    const [have, want] = [told[table], expected[table]] as const;
    for (const [key, row] of want) {
      const got = have.get(key);
      // Said in full sets only: that it was started before.
      const plain = got !== undefined && 'started' in got ? { ...got, started: undefined } : got;
      if (!sameData(plain, row))
        fail(`${nodeId} was told ${JSON.stringify(got)}, not ${JSON.stringify(row)}`);
    }
    for (const key of have.keys()) if (!want.has(key)) fail(`${nodeId} still has ${table} ${key}`);
  }
}

/** Records do not outlive what they belong to. */
function checkLeftovers({ swarm: { store } }: World): void {
  for (const id of store.all('statuses').keys())
    if (store.get('tasks', id) === undefined) fail(`a status without its task: ${id}`);
  for (const [key, { serviceId }] of store.all('revisions'))
    if (store.get('services', serviceId) === undefined) fail(`revision ${key} without its service`);
  for (const [name, { id }] of store.all('names'))
    if (/^(service|container):/.test(name) && store.get('services', id) === undefined)
      fail(`${name} is still taken by ${id}, which is no more`);
}
