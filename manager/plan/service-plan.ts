/** Turns what reconcile decided for one service into writes: endpoint, addresses and nodes are given here. */
import { idFrom } from '../../shared/lib/ids.ts';
import { assertNever } from '../../shared/lib/assert-never.ts';
import type {
  GenericResource,
  Revision,
  Service,
  ServiceSpec,
  Task,
  TaskAddress,
} from '../../shared/model/index.ts';
import { networksOf } from './allocate/addresses.ts';
import { allocateEndpoint } from './allocate/endpoint.ts';
import { takeAddress, whyNotThere, wiring, withDevices } from './allocate/rewire.ts';
import type { Planning } from './plan.ts';
import type { ServiceDecision, SlotAction, SlotDecision } from './reconcile/actions.ts';
import { earlier } from './reconcile/actions.ts';
import { sameJson } from './reconcile/dirty.ts';
import { whyNoNode } from './schedule/filters.ts';
import type { Again } from './schedule/preemption.ts';
import type { Placement } from './schedule/scheduler.ts';
import { ServiceScheduler } from './schedule/scheduler.ts';
import { applyToService } from './service-actions.ts';
import { stopVictim } from './stop-victim.ts';
import { isWanted, revisionKey } from './states.ts';

type CreateTask = Extract<SlotAction, { kind: 'create-task' }>;
type PlaceTask = Extract<SlotAction, { kind: 'place-task' }>;

/** Where a task goes: a node and addresses, or why not. */
type Seat =
  | {
      readonly nodeId: string;
      readonly addresses: readonly TaskAddress[];
      readonly granted?: readonly GenericResource[];
      readonly preempting?: true;
    }
  | { readonly reason: string };

export interface Applied {
  readonly changed: number;
  readonly more: boolean;
  /** Look again at this time. */
  readonly wakeAt?: number;
}

export class ServicePlan {
  readonly #planning: Planning;
  readonly #before: Service;
  readonly #unit: string;
  #service: Service;
  #revision: Revision | undefined;
  /** Why no task of the service can be placed, whatever the nodes. */
  #blocked: string | undefined;
  #scheduler: ServiceScheduler | undefined;
  #expected = 0;
  /** Tasks that this very plan stops: where they ran there is room for their replacements. */
  #leaving: ReadonlySet<string> = new Set();
  /** Stopping tasks of lower priorities has been tried in vain. */
  #preemptionRefused = false;
  #wakeAt: number | undefined;
  /** What this plan does has to be seen before more is. */
  #more = false;

  constructor(planning: Planning, service: Service) {
    this.#planning = planning;
    this.#before = service;
    this.#service = service;
    this.#unit = `service/${service.id}`;
    this.#revision = planning.view.revisions.get(revisionKey(service.id, service.revision));
  }

  /** At most `limit` slots are written; `changed` says how many were. */
  apply(decision: ServiceDecision, limit: number): Applied {
    if (this.#service.removing !== true) this.#allocate();
    this.#blocked = decision.hold ?? whyNoNode(this.#planning.view.nodes.values()) ?? this.#blocked;
    for (const action of decision.service)
      this.#service = applyToService(this.#planning, this.#unit, this.#service, action);
    if (this.#service !== this.#before) this.#put();
    // The slots were decided for the spec that was just given up.
    if (this.#service.revision !== this.#before.revision) return { changed: 1, more: true };
    this.#expected = decision.slots.reduce((sum, { actions }) => sum + actions.filter(needsNode).length, 0);
    this.#leaving = new Set(decision.slots.flatMap(({ actions }) => actions.flatMap(leavingTask)));
    let changed = 0;
    for (const slot of decision.slots) {
      if (changed >= limit) return { changed, more: true };
      if (this.#applySlot(slot)) changed += 1;
    }
    const wakeAt = earlier(this.#level(decision.level), this.#wakeAt);
    return { changed, more: this.#more, ...(wakeAt === undefined ? {} : { wakeAt }) };
  }

  /** Moves one of these tasks to a node where the service has fewer, if there is one. Returns when to look again. */
  #level(tasks: readonly Task[] | undefined): number | undefined {
    const spec = this.#revision?.spec;
    if (tasks === undefined || spec === undefined) return undefined;
    const levelled = this.#schedulerFor(spec).level(tasks);
    if (levelled.kind === 'even') return undefined;
    if (levelled.kind === 'blocked') {
      this.#planning.starved.add(this.#service.id);
      return levelled.untilMs;
    }
    const { slot } = levelled.task;
    const { nodeId } = levelled;
    const reason = 'another node has fewer tasks of the service';
    const action = {
      kind: 'create-task',
      slot,
      nodeId,
      desired: 'running',
      move: 'rebalance',
      reason,
    } as const;
    this.#applySlot({ key: String(slot), actions: [action] });
    return undefined;
  }

  #allocate(): void {
    const { view, addresses, ports } = this.#planning;
    const spec = this.#revision?.spec;
    if (spec === undefined) return;
    const result = allocateEndpoint(view, this.#service, spec, addresses, ports);
    if (result.kind === 'blocked') {
      this.#blocked = result.reason;
      this.#planning.starved.add(this.#service.id);
      return;
    }
    const { endpoint } = result;
    if (this.#service.endpoint === undefined && endpoint.vips.length + endpoint.ports.length === 0) return;
    if (sameJson(this.#service.endpoint, endpoint)) return;
    this.#service = { ...this.#service, endpoint };
    for (const { network } of endpoint.vips) this.#guardNetwork(this.#unit, 0, network);
  }

  #put(): void {
    this.#planning.draft.put(this.#unit, 0, 'services', this.#service.id, this.#service);
  }

  /** True when it wrote something. */
  #applySlot({ key, actions }: SlotDecision): boolean {
    // Another service's unit stops a task of it: what follows from that is decided when it is written.
    const { victims, victimSlots } = this.#planning;
    if (victimSlots.has(`${this.#service.id}/${key}`)) return false;
    if (actions.some((action) => 'task' in action && victims.has(action.task.id))) return false;
    const unit = `${this.#unit}/${key}`;
    let wrote = false;
    for (const action of actions) wrote = this.#applyAction(unit, action) || wrote;
    if (wrote) this.#planning.draft.guard(unit, 1, 'services', this.#service.id);
    return wrote;
  }

  #applyAction(unit: string, action: SlotAction): boolean {
    const { draft, now } = this.#planning;
    switch (action.kind) {
      case 'create-task':
        return this.#create(unit, action);
      case 'place-task':
        return this.#place(unit, action);
      case 'set-desired': {
        const { startAfterMs: _over, preempting, ...task } = action.task;
        const waits = preempting === true && action.desired !== 'running' ? { preempting } : {};
        const run = action.run === undefined ? {} : { run: action.run };
        draft.put(unit, 1, 'tasks', task.id, {
          ...task,
          ...waits,
          ...run,
          desired: action.desired,
          desiredAtMs: now,
        });
        return true;
      }
      case 'rewire-task':
        return this.#rewire(unit, action.task);
      case 'orphan-task':
        this.#orphan(unit, action.task, action.reason);
        return true;
      case 'delete-task':
        draft.put(unit, 1, 'tasks', action.task.id, null);
        draft.drop(unit, 1, 'statuses', action.task.id);
        return true;
      default:
        return assertNever(action);
    }
  }

  #orphan(unit: string, task: Task, reason: string): void {
    const { view, draft, now } = this.#planning;
    draft.put(unit, 1, 'statuses', task.id, {
      ...view.statuses.get(task.id),
      taskId: task.id,
      state: 'orphaned',
      atMs: now,
      message: 'orphaned',
      error: reason,
    });
  }

  #create(unit: string, action: CreateTask): boolean {
    const { now, random, starved } = this.#planning;
    const { run } = action;
    // What the services of this plan give up shows in the next: only what has waited for it takes from others.
    const seat = this.#seat(unit, action, run !== undefined, action.nodeId !== undefined);
    if ('reason' in seat && action.nodeId !== undefined && run === undefined) {
      // A global service has no task where it does not fit, rather than one without a node.
      starved.add(this.#service.id);
      return false;
    }
    const task: Task = {
      id: idFrom(random),
      serviceId: this.#service.id,
      revision: this.#service.revision,
      slot: action.slot,
      desired: action.desired,
      createdAtMs: now,
      desiredAtMs: now,
      addresses: [],
      ...(action.startAfterMs === undefined ? {} : { startAfterMs: action.startAfterMs }),
      ...(action.failures === undefined ? {} : { failures: action.failures }),
      ...(run === undefined ? {} : { run }),
      ...(action.move === undefined ? {} : { move: action.move }),
      ...(action.scheduledAtMs === undefined ? {} : { scheduledAtMs: action.scheduledAtMs }),
    };
    this.#write(unit, task, seat);
    return true;
  }

  #place(unit: string, action: PlaceTask): boolean {
    const { task, renew } = action;
    const seat = this.#seat(unit, action, action.task.run !== undefined, true);
    if ('reason' in seat && !renew && seat.reason === task.pendingReason) {
      this.#explain(task.id, seat.reason);
      return false;
    }
    const { now } = this.#planning;
    // A move has its time to come up from when it has a node.
    const since = renew || task.move !== undefined ? { createdAtMs: now } : {};
    const base = renew ? { ...task, revision: this.#service.revision, ...since } : { ...task, ...since };
    this.#write(unit, base, seat);
    return true;
  }

  #write(unit: string, task: Task, seat: Seat): void {
    const { pendingReason: _old, ...rest } = task;
    if ('reason' in seat) this.#explain(task.id, seat.reason);
    const placed = 'reason' in seat ? { ...rest, pendingReason: seat.reason } : { ...rest, ...seat };
    const waits = 'preempting' in seat ? { desired: 'ready' as const, desiredAtMs: this.#planning.now } : {};
    this.#planning.draft.put(unit, 1, 'tasks', task.id, { ...placed, ...waits });
  }

  #explain(taskId: string, reason: string): void {
    this.#planning.explanations.set(taskId, reason);
    this.#planning.starved.add(this.#service.id);
  }

  /**
   * A node and an address on each network, or neither. `bound`: the node is not asked whether it takes the task.
   * `preempts`: tasks of lower priorities may be stopped for it.
   */
  #seat(unit: string, { nodeId }: { readonly nodeId?: string }, bound: boolean, preempts: boolean): Seat {
    const spec = this.#revision?.spec;
    if (spec === undefined) return { reason: 'its revision is missing' };
    if (this.#blocked !== undefined) return { reason: this.#blocked };
    const addresses = this.#takeAddresses(spec);
    if (typeof addresses === 'string') return { reason: addresses };
    const scheduler = this.#schedulerFor(spec);
    const placement = this.#placement(scheduler, nodeId, bound, preempts && !bound);
    if (placement.kind === 'refused') {
      this.#release(addresses);
      return { reason: placement.reason };
    }
    this.#planning.draft.guard(unit, 1, 'nodes', placement.nodeId);
    for (const { network } of addresses) this.#guardNetwork(unit, 1, network);
    const { granted, victims } = placement;
    for (const victim of victims ?? []) stopVictim(this.#planning, unit, victim, this.#service);
    return {
      nodeId: placement.nodeId,
      addresses,
      ...(granted === undefined ? {} : { granted }),
      ...(victims === undefined ? {} : { preempting: true }),
    };
  }

  #placement(
    scheduler: ServiceScheduler,
    nodeId: string | undefined,
    bound: boolean,
    preempts: boolean,
  ): Placement {
    if (nodeId !== undefined && bound) return scheduler.return(nodeId);
    const placement = nodeId === undefined ? scheduler.place() : scheduler.placeOn(nodeId);
    if (placement.kind === 'placed' || !preempts || this.#preemptionRefused) return placement;
    const other = scheduler.preempt(this.#planning.preemption(), nodeId);
    if ('again' in other) this.#look(other.again);
    else return other;
    // Of a global service each node is another question.
    this.#preemptionRefused = nodeId === undefined;
    return placement;
  }

  #look(again: Again | undefined): void {
    if (again === 'next-plan') this.#more = true;
    else this.#wakeAt = earlier(this.#wakeAt, again?.atMs);
  }

  #takeAddresses(spec: ServiceSpec, networks: readonly string[] = networksOf(spec)): TaskAddress[] | string {
    const taken: TaskAddress[] = [];
    for (const network of networks) {
      const result = takeAddress(this.#planning, this.#service.id, spec, network);
      if ('problem' in result) {
        this.#release(taken);
        return result.problem;
      }
      taken.push({ network, address: result.address });
    }
    return taken;
  }

  /** Of a task that lives: what it has on other networks stays as it is. */
  #rewire(unit: string, task: Task): boolean {
    const spec = this.#revision?.spec;
    if (spec === undefined) return false;
    const { kept, missing } = wiring(task, spec);
    const taken = whyNotThere(this.#planning, task, missing) ?? this.#takeAddresses(spec, missing);
    const { networkProblem, ...rest } = task;
    if (typeof taken === 'string') {
      if (taken === networkProblem) return false;
      this.#planning.draft.put(unit, 1, 'tasks', task.id, { ...task, networkProblem: taken });
      return true;
    }
    for (const { network } of taken) this.#guardNetwork(unit, 1, network);
    const addresses = withDevices(kept, taken);
    const { revision } = this.#service;
    this.#planning.draft.put(unit, 1, 'tasks', task.id, { ...rest, revision, addresses });
    return true;
  }

  #release(addresses: readonly TaskAddress[]): void {
    for (const { network, address } of addresses) this.#planning.addresses.release(network, address);
  }

  #guardNetwork(unit: string, stage: 0 | 1, network: string): void {
    this.#planning.draft.guard(unit, stage, 'networks', network);
  }

  #schedulerFor(spec: ServiceSpec): ServiceScheduler {
    const { view, now, random } = this.#planning;
    const columns = this.#planning.columns();
    this.#scheduler ??= new ServiceScheduler(
      view,
      columns,
      this.#service.id,
      spec,
      now,
      random,
      this.#expected,
      this.#leaving,
    );
    return this.#scheduler;
  }
}

function needsNode({ kind }: SlotAction): boolean {
  return kind === 'create-task' || kind === 'place-task';
}

function leavingTask(action: SlotAction): string[] {
  const leaves = action.kind === 'set-desired' && !isWanted({ ...action.task, desired: action.desired });
  return leaves || action.kind === 'delete-task' ? [action.task.id] : [];
}
