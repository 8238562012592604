/**
 * plan(view, input) = schedule(allocate(reconcile(view))): what has to be written so that the cluster comes nearer to what
 * is desired. Pure: the time and the seed are given, and nothing but the view is read.
 */
import type { Millis } from '../../shared/lib/clock.ts';
import type { Prng } from '../../shared/lib/prng.ts';
import { prng } from '../../shared/lib/prng.ts';
import type { Service } from '../../shared/model/index.ts';
import { INGRESS_NETWORK_ID } from '../../shared/model/index.ts';
import type { Guard, Write } from '../store/store.ts';
import { AddressBook } from './allocate/addresses.ts';
import { PortBook } from './allocate/ports.ts';
import { allocateNetworks } from './allocate/subnets.ts';
import type { Unit } from './draft.ts';
import { Draft } from './draft.ts';
import { earlier } from './reconcile/actions.ts';
import type { Recommendations } from './reconcile/autoscale.ts';
import { reconcileService } from './reconcile/service.ts';
import { clearStrayStatuses, clearStrayTasks } from './reconcile/strays.ts';
import { Priorities } from './priorities.ts';
import { ClusterColumns } from './schedule/columns.ts';
import { Preemption } from './schedule/preemption.ts';
import { ServicePlan } from './service-plan.ts';
import { revisionKey } from './states.ts';
import type { View } from './view.ts';

export interface PlanInput {
  readonly dirtyServices: ReadonlySet<string> | 'all';
  readonly now: Millis;
  /** Identifiers and choices follow from it: a different one for each call. */
  readonly seed: string;
  /** About how many slots are acted upon at most; fewer when many tasks have to be looked at for that. */
  readonly limit: number;
}

export interface Plan {
  readonly writes: readonly Write[];
  readonly guards: readonly Guard[];
  /** The same, in pieces that must each be written whole; stage 0 before stage 1. */
  readonly units: readonly Unit[];
  /** Plan again at this time at the latest, even if nothing changes. */
  readonly wakeAt?: Millis;
  /** The same for each service. */
  readonly timers: ReadonlyMap<string, Millis>;
  /** Why a task is pending, by task id. */
  readonly explanations: ReadonlyMap<string, string>;
  /** Services with something that could not be placed: to be planned again when room is made. */
  readonly starved: ReadonlySet<string>;
  /** Services that are held back, and the names of those that they wait for: to be planned again when these change. */
  readonly waits: ReadonlyMap<string, readonly string[]>;
  /** Of services that are scaled by use: what the next plans have to know. */
  readonly recommended: ReadonlyMap<string, Recommendations>;
  /** Services that the limit left unfinished: plan them again after this plan is written. */
  readonly unfinished: ReadonlySet<string>;
  readonly more: boolean;
  /** How many tasks were looked at, which is what a plan costs. */
  readonly looked: number;
}

/** To look at so many tasks counts as much as to act upon a slot. */
const LOOKS_PER_SLOT = 20;

/** What all services of a plan share. */
export interface Planning {
  readonly view: View;
  readonly now: Millis;
  readonly random: Prng;
  readonly draft: Draft;
  readonly addresses: AddressBook;
  /** Made when first asked for: most plans place nothing. */
  readonly ports: () => PortBook;
  readonly columns: () => ClusterColumns;
  readonly priorities: Priorities;
  readonly preemption: () => Preemption;
  /** Tasks that are stopped in favour of services of higher priorities. */
  readonly victims: ReadonlySet<string>;
  /** Their slots, which this plan does not touch again: `serviceId/key`. */
  readonly victimSlots: Set<string>;
  /** How many tasks are wanted in each slot of a service, made when one of it is stopped. */
  readonly slotCounts: Map<string, Map<number, number>>;
  readonly explanations: Map<string, string>;
  readonly starved: Set<string>;
}

export function plan(view: View, input: PlanInput): Plan {
  const planning = begin(view, input);
  const timers = new Map<string, number>();
  const unfinished = new Set<string>();
  const waits = new Map<string, readonly string[]>();
  const recommended = new Map<string, Recommendations>();
  let left = input.limit;
  let looked = 0;
  let wakeAt: number | undefined;
  for (const id of orderOf(view, input.dirtyServices, planning.priorities)) {
    if (left <= 0) {
      unfinished.add(id);
      continue;
    }
    const service = view.services.get(id);
    if (service === undefined) {
      left -= clearStrayTasks(view, planning.draft, id, input.now);
      continue;
    }
    const tasks = view.tasksOfService(id).size;
    looked += tasks;
    const decision = reconcileService(view, service, input.now, left);
    const result = new ServicePlan(planning, service).apply(decision, left);
    left -= Math.max(result.changed, Math.floor(tasks / LOOKS_PER_SLOT));
    if (decision.more || result.more) unfinished.add(id);
    const again = earlier(decision.wakeAt, result.wakeAt);
    if (again !== undefined) timers.set(id, again);
    wakeAt = earlier(wakeAt, again);
    if (decision.hold !== undefined) waits.set(id, dependenciesOf(view, service));
    if (decision.recommended !== undefined) recommended.set(id, decision.recommended);
  }
  if (input.dirtyServices === 'all') clearStrayStatuses(view, planning.draft);
  return { ...finish(planning, timers, unfinished, wakeAt), waits, recommended, looked };
}

function dependenciesOf(view: View, { id, revision }: Service): string[] {
  const dependsOn = view.revisions.get(revisionKey(id, revision))?.spec.dependsOn ?? [];
  return dependsOn.map(({ service }) => service);
}

function begin(view: View, input: PlanInput): Planning {
  const draft = new Draft(view);
  const addresses = new AddressBook(view);
  for (const network of allocateNetworks(view, input.now)) {
    draft.put('networks', 0, 'networks', network.id, network);
    if (network.id === INGRESS_NETWORK_ID && view.version('names', 'network:ingress') === 0) {
      draft.put('networks', 0, 'names', 'network:ingress', { id: network.id });
    }
    addresses.add(network);
  }
  const columns = once(() => new ClusterColumns(view));
  const priorities = new Priorities(view);
  const victims = new Set<string>();
  return {
    view,
    now: input.now,
    random: prng(input.seed),
    draft,
    addresses,
    ports: once(() => new PortBook(view)),
    columns,
    priorities,
    preemption: once(() => new Preemption(view, columns(), priorities, victims, input.now)),
    victims,
    victimSlots: new Set(),
    slotCounts: new Map(),
    explanations: new Map(),
    starved: new Set(),
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/**
 * The highest priority first, so that room goes to it; then the oldest service, so that of two that want the same port the
 * first has it.
 */
function orderOf(view: View, dirty: ReadonlySet<string> | 'all', priorities: Priorities): string[] {
  const ids = dirty === 'all' ? allServiceIds(view) : [...dirty];
  const created = (id: string): number => view.services.get(id)?.createdAtMs ?? 0;
  return ids.sort(
    (a, b) => priorities.of(b) - priorities.of(a) || created(a) - created(b) || (a < b ? -1 : 1),
  );
}

/** Those that exist, and those that only tasks still name. */
function allServiceIds(view: View): string[] {
  const ids = new Set<Service['id']>(view.services.keys());
  for (const task of view.tasks.values()) ids.add(task.serviceId);
  return [...ids];
}

function finish(
  planning: Planning,
  timers: ReadonlyMap<string, number>,
  unfinished: ReadonlySet<string>,
  wakeAt: number | undefined,
): Omit<Plan, 'waits' | 'recommended' | 'looked'> {
  const units = planning.draft.units();
  const written = new Set<string>();
  for (const { writes } of units) for (const { table, key } of writes) written.add(`${table}/${key}`);
  const guards = new Map<string, Guard>();
  for (const unit of units) {
    for (const guard of unit.guards) {
      const id = `${guard.table}/${guard.key}`;
      if (!written.has(id)) guards.set(id, guard);
    }
  }
  return {
    writes: units.flatMap(({ writes }) => writes),
    guards: [...guards.values()],
    units,
    ...(wakeAt === undefined ? {} : { wakeAt }),
    timers,
    explanations: planning.explanations,
    starved: planning.starved,
    unfinished,
    more: unfinished.size > 0,
  };
}
