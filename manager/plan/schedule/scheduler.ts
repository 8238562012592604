/** Finds a node for each task of one service. Made once a service and plan; remembers what it has placed. */
import type { Prng } from '../../../shared/lib/prng.ts';
import type { GenericResource, ServiceSpec, Task } from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import { effectiveState, isWanted } from '../states.ts';
import type { View } from '../view.ts';
import { affinityRows, misfit } from './affinity.ts';
import { attributeOf } from '../constraint.ts';
import { Candidates } from './candidates.ts';
import type { ClusterColumns } from './columns.ts';
import type { Again, Preemption } from './preemption.ts';
import type { Filter, Refusals, Request } from './filters.ts';
import { CHANGING_FILTERS, describeRefusals, FIXED_FILTERS, requestFor, whyNot } from './filters.ts';
import { findMove } from './level.ts';
import type { Levelling } from './level.ts';

/** Five failures in five minutes weigh a node down (swarmkit, manager/scheduler/nodeinfo.go). */
const BAD_FAILURES = 5;
const BAD_WINDOW_MS = 5 * 60_000;
/** With this many times more nodes than tasks, a sample is tried before all nodes are looked at. */
const SAMPLE_FACTOR = 32;
const SAMPLE = 16;

export type Placement =
  | {
      readonly kind: 'placed';
      readonly nodeId: string;
      /** Of a task that asks for generic resources. */
      readonly granted: readonly GenericResource[] | undefined;
      /** Tasks that are stopped for it: it waits for them. There may be none, where others wait already. */
      readonly victims?: readonly Task[];
    }
  | { readonly kind: 'refused'; readonly reason: string };

export type Levelled =
  | { readonly kind: 'move'; readonly task: Task; readonly nodeId: string }
  | { readonly kind: 'even' }
  /** A better node does not take it, for lack of room or (until then) because of failures there. */
  | { readonly kind: 'blocked'; readonly untilMs: number | undefined };

export class ServiceScheduler {
  readonly #columns: ClusterColumns;
  readonly #random: Prng;
  readonly #request: Request;
  readonly #fixed: readonly Filter[];
  readonly #changing: readonly Filter[];
  /** Those of them that stay as they are when tasks are stopped. */
  readonly #lasting: readonly Filter[];
  readonly #bad: ReadonlySet<number>;
  readonly #serviceId: string;
  readonly #leaving: ReadonlySet<string>;
  readonly #refusals: Refusals = new Map();
  readonly #now: number;
  #candidates: Candidates | undefined;
  #expected: number;
  #firstRow: number | undefined;

  /** `expected`: about how many tasks will be asked for. `leaving`: tasks that are about to be stopped. */
  constructor(
    view: View,
    columns: ClusterColumns,
    serviceId: string,
    spec: ServiceSpec,
    now: number,
    random: Prng,
    expected: number,
    leaving: ReadonlySet<string>,
  ) {
    this.#columns = columns;
    this.#random = random;
    const { counts, bad } = countTasks(view, columns, serviceId, now, leaving);
    this.#request = requestFor(spec, counts, affinityRows(view, columns, spec), view);
    this.#fixed = FIXED_FILTERS.filter((filter) => filter.applies(this.#request));
    this.#changing = CHANGING_FILTERS.filter((filter) => filter.applies(this.#request));
    this.#lasting = this.#changing.filter(({ yields }) => yields !== true);
    this.#bad = bad;
    this.#serviceId = serviceId;
    this.#leaving = leaving;
    this.#expected = expected;
    this.#now = now;
  }

  /** A node for one more task; it is counted there at once. */
  place(): Placement {
    const row = this.#quick() ?? this.#exact();
    if (row === undefined) return { kind: 'refused', reason: describeRefusals(this.#refusals) };
    return this.#placed(row);
  }

  /** The same on a given node: global services. */
  placeOn(nodeId: string): Placement {
    const row = this.#columns.row(nodeId);
    if (row === undefined) return { kind: 'refused', reason: 'the node is gone' };
    const reason = this.#whyNot(row);
    if (reason !== undefined) return { kind: 'refused', reason: describeRefusals(new Map([[reason, 1]])) };
    this.#columns.place(row, this.#request.spec);
    return this.#placed(row);
  }

  /** A node for one more task, or this one, where tasks of lower priorities are stopped for it. */
  preempt(
    preemption: Preemption,
    nodeId: string | undefined,
  ): Placement | { readonly again: Again | undefined } {
    const asker = {
      serviceId: this.#serviceId,
      request: this.#request,
      leaving: this.#leaving,
      isBad: (row: number) => this.#bad.has(row),
      suits: (row: number) =>
        whyNot(this.#fixed, this.#request, this.#columns, row) === undefined &&
        whyNot(this.#lasting, this.#request, this.#columns, row) === undefined,
    };
    const row = nodeId === undefined ? undefined : this.#columns.row(nodeId);
    const result = preemption.take(asker, row === undefined ? this.#anyOrder() : [row]);
    if (result.kind === 'refused') return result;
    const { row: taken, victims, granted } = result;
    return { kind: 'placed', nodeId: this.#columns.node(taken).id, granted, victims };
  }

  /** All rows, from one chosen at random on: a plan may not get through all of them. */
  *#anyOrder(): Generator<number> {
    const count = this.#columns.nodes.length;
    this.#firstRow ??= count === 0 ? 0 : this.#random.below(count);
    for (let i = 0; i < count; i += 1) yield (this.#firstRow + i) % count;
  }

  /** The same for a container whose files are on the node: it has no other, whatever the filters say. */
  return(nodeId: string): Placement {
    const row = this.#columns.row(nodeId);
    if (row === undefined) return { kind: 'refused', reason: 'its node was removed' };
    this.#columns.place(row, this.#request.spec);
    return this.#placed(row);
  }

  /** Of a row on which the task is counted already. */
  #placed(row: number): Placement {
    const granted = this.#columns.grant(row, this.#request.spec, 'staying');
    return { kind: 'placed', nodeId: this.#columns.node(row).id, granted };
  }

  /** Which of these running tasks, all that the service has, would lie better on another node. Counts nothing. */
  level(tasks: readonly Task[]): Levelled {
    const { placement } = this.#request.spec;
    let blocked = false;
    let bad = false;
    const fits = (row: number): boolean => {
      const fixed = whyNot(this.#fixed, this.#request, this.#columns, row);
      // Nodes are watched; where other services' tasks are changes with room.
      if (fixed !== undefined) blocked ||= (placement.affinities ?? []).length > 0;
      else if (this.#bad.has(row)) bad = true;
      else if (whyNot(this.#changing, this.#request, this.#columns, row) === undefined) return true;
      else blocked = true;
      return false;
    };
    const move = findMove(levellingOf(this.#columns, this.#request, fits));
    const from = move === undefined ? undefined : this.#columns.node(move.from).id;
    const task = tasks.findLast(({ nodeId }) => nodeId === from);
    if (move !== undefined && task !== undefined)
      return { kind: 'move', task, nodeId: this.#columns.node(move.to).id };
    if (bad) return { kind: 'blocked', untilMs: this.#now + BAD_WINDOW_MS };
    return blocked ? { kind: 'blocked', untilMs: undefined } : { kind: 'even' };
  }

  #whyNot(row: number): string | undefined {
    return (
      whyNot(this.#fixed, this.#request, this.#columns, row) ??
      whyNot(this.#changing, this.#request, this.#columns, row)
    );
  }

  /** The best of a few nodes without a task of the service: for few tasks on many nodes that is as good as any. */
  #quick(): number | undefined {
    const count = this.#columns.nodes.length;
    const { counts, spec } = this.#request;
    if (this.#candidates !== undefined || this.#expected * SAMPLE_FACTOR > count) return undefined;
    const { spread, strategy, affinities = [] } = spec.placement;
    if (spread.length > 0 || strategy === 'binpack' || affinities.length > 0) return undefined;
    let best: number | undefined;
    for (let i = 0; i < SAMPLE; i += 1) {
      const row = this.#random.below(count);
      if ((counts[row] ?? 0) > 0 || this.#bad.has(row) || this.#whyNot(row) !== undefined) continue;
      this.#columns.load(row);
      const active = this.#columns.active[row] ?? 0;
      if (best === undefined || active < (this.#columns.active[best] ?? 0)) best = row;
    }
    if (best === undefined) return undefined;
    counts[best] = 1;
    this.#columns.place(best, spec);
    return best;
  }

  #exact(): number | undefined {
    this.#candidates ??= this.#findCandidates();
    return this.#candidates.take();
  }

  #findCandidates(): Candidates {
    const rows: number[] = [];
    for (let row = 0; row < this.#columns.nodes.length; row += 1) {
      const reason = whyNot(this.#fixed, this.#request, this.#columns, row);
      if (reason === undefined) rows.push(row);
      else this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    }
    const choice = {
      request: this.#request,
      columns: this.#columns,
      random: this.#random,
      filters: this.#changing,
      refusals: this.#refusals,
    };
    return new Candidates(choice, rows, (row) => this.#bad.has(row));
  }
}

function levellingOf(columns: ClusterColumns, request: Request, fits: (row: number) => boolean): Levelling {
  const { spread } = request.spec.placement;
  return {
    rows: columns.nodes.map((_node, row) => row),
    count: (row) => request.counts[row] ?? 0,
    path: (row) => spread.map((key) => attributeOf(columns.node(row), key)),
    fits,
    load: (row) => {
      columns.load(row);
      return columns.active[row] ?? 0;
    },
    // What is preferred more than evenness is not given up for it.
    allows: (from, to) => misfit(request.affinities, to) <= misfit(request.affinities, from),
  };
}

/** How many wanted tasks of the service each node has, and the nodes on which it keeps failing. */
export function countTasks(
  view: View,
  columns: ClusterColumns,
  serviceId: string,
  now: number,
  leaving: ReadonlySet<string>,
): { readonly counts: Int32Array; readonly bad: ReadonlySet<number> } {
  const counts = new Int32Array(columns.nodes.length);
  const failures = new Map<number, number>();
  const bad = new Set<number>();
  for (const id of view.tasksOfService(serviceId)) {
    const task = view.tasks.get(id);
    const row = task?.nodeId === undefined ? undefined : columns.row(task.nodeId);
    if (task === undefined || row === undefined) continue;
    const status = view.statuses.get(id);
    const state = effectiveState(task, status);
    if (isWanted(task) && !isTerminal(state) && !leaving.has(id)) counts[row] = (counts[row] ?? 0) + 1;
    if ((state === 'failed' || state === 'rejected') && (status?.atMs ?? 0) > now - BAD_WINDOW_MS) {
      const count = (failures.get(row) ?? 0) + 1;
      failures.set(row, count);
      if (count >= BAD_FAILURES) bad.add(row);
    }
  }
  return { counts, bad };
}
