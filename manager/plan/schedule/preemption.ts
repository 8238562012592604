/**
 * Room for a task in place of tasks of a lower priority. One object a plan, shared by all of its services: what one of them
 * has stopped is not there for the next, and the work is bounded for all together.
 *
 * Nothing is stopped while tasks that are stopping anyway would make room enough.
 */
import { portsCollide } from '../../../shared/lib/published-port.ts';
import type { GenericResource, ServiceSpec, Task } from '../../../shared/model/index.ts';
import { isJob } from '../../../shared/model/index.ts';
import type { Priorities } from '../priorities.ts';
import { holdsResources, isWanted, revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import type { ClusterColumns, Victim } from './columns.ts';
import { amountsOf, hostPortsOf } from './columns.ts';
import type { Request } from './filters.ts';
import type { Evictable } from './victims.ts';
import { chooseVictims } from './victims.ts';

/** So many tasks stopped for one at most: they are written in one transaction. */
const MOST_VICTIMS = 16;
/** So many nodes that would do are compared. */
const ENOUGH_NODES = 100;
/** Tasks looked at in one plan. */
const MOST_LOOKS = 20_000;
/** Tasks placed like this in one plan. */
const MOST_PLACED = 100;
/** When a plan has done as much as it may, another looks at others after this. */
const LOOK_AGAIN_MS = 5_000;
/** A task that takes longer than this to stop is not waited for. */
const STOP_WAIT_MS = 60_000;

export interface Asker {
  readonly serviceId: string;
  readonly request: Request;
  /** Tasks of its own that this plan stops. */
  readonly leaving: ReadonlySet<string>;
  /** The node passes all filters but those that yield. */
  readonly suits: (row: number) => boolean;
  /** The service keeps failing there. */
  readonly isBad: (row: number) => boolean;
}

export type Preempted =
  | {
      readonly kind: 'taken';
      readonly row: number;
      readonly victims: readonly Task[];
      readonly granted: readonly GenericResource[] | undefined;
    }
  /** Nothing, but it may be worth another look: once this plan is written, or at a time. */
  | { readonly kind: 'refused'; readonly again: Again | undefined };

export type Again = 'next-plan' | { readonly atMs: number };

interface Candidate extends Victim, Evictable {}

/** What one node can offer. */
type Offer =
  | { readonly kind: 'victims'; readonly row: number; readonly victims: readonly Candidate[] }
  /** What is stopping there will do. */
  | { readonly kind: 'wait'; readonly untilMs: number }
  | { readonly kind: 'none' };

/** One thing that a node is short of, and how much of it a task frees. */
interface Shortage {
  readonly amount: number;
  readonly freedBy: (task: Task, spec: ServiceSpec) => number;
}

export class Preemption {
  readonly #view: View;
  readonly #columns: ClusterColumns;
  readonly #priorities: Priorities;
  readonly #now: number;
  readonly #victims: Set<string>;
  /**
   * Where this plan has stopped tasks. Another there would count on that, and the two are not written together: it has to
   * wait for the next plan.
   */
  readonly #rows = new Set<number>();
  readonly #offers = new Map<Request, Map<number, Offer>>();
  #looks = 0;
  #placed = 0;

  /** `victims`: tasks that are stopped; what is stopped here is added. */
  constructor(
    view: View,
    columns: ClusterColumns,
    priorities: Priorities,
    victims: Set<string>,
    now: number,
  ) {
    this.#view = view;
    this.#columns = columns;
    this.#priorities = priorities;
    this.#victims = victims;
    this.#now = now;
  }

  get #isExhausted(): boolean {
    return this.#looks >= MOST_LOOKS || this.#placed >= MOST_PLACED;
  }

  /** Takes the best of the rows, which are looked at in this order. */
  take(asker: Asker, rows: Iterable<number>): Preempted {
    if (this.#priorities.lowest >= this.#priorities.of(asker.serviceId))
      return { kind: 'refused', again: undefined };
    let best: Extract<Offer, { kind: 'victims' }> | undefined;
    let found = 0;
    for (const row of rows) {
      if (this.#isExhausted || found >= ENOUGH_NODES) break;
      const offer = this.#offerOf(asker, row);
      if (offer.kind === 'wait') return { kind: 'refused', again: { atMs: offer.untilMs } };
      if (offer.kind === 'none') continue;
      found += 1;
      if (best === undefined || isBetter(offer, best, asker)) best = offer;
    }
    if (best !== undefined && !this.#rows.has(best.row)) return this.#accept(asker, best);
    return { kind: 'refused', again: best === undefined ? this.#later : 'next-plan' };
  }

  get #later(): Again | undefined {
    if (this.#placed >= MOST_PLACED) return 'next-plan';
    return this.#looks >= MOST_LOOKS ? { atMs: this.#now + LOOK_AGAIN_MS } : undefined;
  }

  #accept({ request }: Asker, { row, victims }: Extract<Offer, { kind: 'victims' }>): Preempted {
    this.#placed += 1;
    this.#rows.add(row);
    for (const offers of this.#offers.values()) offers.delete(row);
    for (const { taskId } of victims) this.#victims.add(taskId);
    this.#columns.preempt(row, victims, request.spec);
    request.counts[row] = (request.counts[row] ?? 0) + 1;
    const granted = this.#columns.grant(row, request.spec, 'coming');
    return { kind: 'taken', row, victims: victims.map(({ task }) => task), granted };
  }

  /** Worked out once for a service, until tasks of the node are stopped. */
  #offerOf(asker: Asker, row: number): Offer {
    let known = this.#offers.get(asker.request);
    if (known === undefined) {
      known = new Map();
      this.#offers.set(asker.request, known);
    }
    let offer = known.get(row);
    if (offer === undefined) {
      offer = asker.suits(row) ? this.#offer(asker, row) : { kind: 'none' };
      known.set(row, offer);
    }
    return offer;
  }

  #offer(asker: Asker, row: number): Offer {
    const { nanoCpus = 0, memoryBytes = 0 } = this.#columns.node(row).description ?? {};
    const { request } = asker;
    if (request.nanoCpus > nanoCpus || request.memoryBytes > memoryBytes) return { kind: 'none' };
    const shortages = this.#shortages(request, row);
    const evictable: Candidate[] = [];
    const stopping = shortages.map(() => 0);
    let stoppedMs: number | undefined;
    for (const id of this.#view.tasksOfNode(this.#columns.node(row).id)) {
      this.#looks += 1;
      const task = this.#view.tasks.get(id);
      if (task === undefined || task.preemptedBy !== undefined || this.#victims.has(id)) continue;
      const spec = this.#view.revisions.get(revisionKey(task.serviceId, task.revision))?.spec;
      if (spec === undefined || !holdsResources(task, this.#view.statuses.get(id))) continue;
      const frees = shortages.map(({ freedBy }) => freedBy(task, spec));
      const untilMs = this.#stopsUntil(asker, task);
      if (untilMs !== undefined) {
        stoppedMs = Math.max(stoppedMs ?? 0, untilMs);
        frees.forEach((amount, i) => (stopping[i] = (stopping[i] ?? 0) + amount));
      } else if (this.#mayStop(asker, task)) {
        const { createdAtMs } = task;
        const priority = this.#priorities.of(task.serviceId);
        evictable.push({ task, taskId: id, priority, createdAtMs, frees, amounts: amountsOf(spec) });
      }
    }
    if (stoppedMs !== undefined && shortages.every(({ amount }, i) => (stopping[i] ?? 0) >= amount))
      return { kind: 'wait', untilMs: stoppedMs };
    const short = shortages.map(({ amount }) => amount);
    const victims = chooseVictims(short, evictable);
    if (victims === undefined || victims.length > MOST_VICTIMS) return { kind: 'none' };
    return { kind: 'victims', row, victims };
  }

  /** It is told to stop, and may be expected to have done so by then. */
  #stopsUntil({ leaving }: Asker, task: Task): number | undefined {
    const isRemoved = this.#view.services.get(task.serviceId)?.removing === true;
    if (isWanted(task) && (leaving.has(task.id) || isRemoved)) return this.#now + STOP_WAIT_MS;
    const untilMs = task.desiredAtMs + STOP_WAIT_MS;
    return isWanted(task) || untilMs <= this.#now ? undefined : untilMs;
  }

  /** A container has no other node to go to, and a job's run is lost: that has to be asked for. */
  #mayStop({ serviceId }: Asker, task: Task): boolean {
    if (!isWanted(task)) return false;
    if (this.#priorities.of(task.serviceId) >= this.#priorities.of(serviceId)) return false;
    const service = this.#view.services.get(task.serviceId);
    if (service === undefined || service.run !== undefined || service.removing === true) return false;
    const spec = this.#priorities.specOf(service);
    return spec !== undefined && (!isJob(spec.mode) || spec.priority !== undefined);
  }

  /** What the row lacks when all has ended there that was preempted. Nothing, where more was stopped than was needed. */
  #shortages(request: Request, row: number): Shortage[] {
    const columns = this.#columns;
    const free = columns.freeAfterLeaving(row);
    const shortages: Shortage[] = [
      {
        amount: request.nanoCpus === 0 ? 0 : request.nanoCpus - free.nanoCpus,
        freedBy: (_task, spec) => amountsOf(spec).nanoCpus,
      },
      {
        amount: request.memoryBytes === 0 ? 0 : request.memoryBytes - free.memoryBytes,
        freedBy: (_task, spec) => amountsOf(spec).memoryBytes,
      },
    ];
    for (const { kind, count } of request.genericResources) {
      const ledger = columns.ledger(row);
      const amount = count - ledger.freeAfterLeaving(kind);
      shortages.push({ amount, freedBy: (task) => ledger.worth(task.granted ?? [], kind) });
    }
    for (const port of request.hostPorts) {
      const inTheWay = columns.hostPorts(row).inTheWayOf(port).length;
      const freed = (spec: ServiceSpec): number =>
        hostPortsOf(spec).filter((held) => portsCollide(held, port)).length;
      shortages.push({ amount: inTheWay, freedBy: (_task, spec) => freed(spec) });
    }
    return shortages.filter(({ amount }) => amount > 0);
  }
}

/** Where it does not keep failing; the lower priority, then the fewer victims, then the node with fewer tasks of the service, then the younger victims. */
function isBetter(
  a: { readonly row: number; readonly victims: readonly Candidate[] },
  b: { readonly row: number; readonly victims: readonly Candidate[] },
  { isBad, request: { counts } }: Asker,
): boolean {
  const [one, other] = [a, b].map(({ row, victims }) => [
    isBad(row) ? 1 : 0,
    Math.max(...victims.map(({ priority }) => priority)),
    victims.length,
    victims.reduce((sum, { priority }) => sum + priority, 0),
    counts[row] ?? 0,
    -Math.min(...victims.map(({ createdAtMs }) => createdAtMs)),
  ]);
  for (const [i, value] of (one ?? []).entries()) {
    const difference = value - (other?.[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
