/**
 * The cluster as columns: one row a node, numbers in typed arrays. A node's sums are made when it is first looked at, so
 * that a plan for a few tasks never visits the tasks of ten thousand nodes; and where the view keeps them, only then.
 */
import { HeldPorts, type PortClaim } from '../../../shared/lib/published-port.ts';
import type { GenericResource, Node, ServiceSpec, Task } from '../../../shared/model/index.ts';
import { effectiveState, holdsResources, isWanted, revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import type { Amounts } from './exchange.ts';
import { Exchange } from './exchange.ts';
import type { Part } from './generic-ledger.ts';
import { GenericLedger } from './generic-ledger.ts';

const NO_ROWS: ReadonlySet<number> = new Set();
const NO_PORTS = new HeldPorts();

export class ClusterColumns {
  readonly nodes: readonly Node[];
  /** CPU (1e-9) and memory (bytes) not reserved. Read through `load`. */
  readonly freeNanoCpus: Float64Array;
  readonly freeMemoryBytes: Float64Array;
  /** Tasks that are wanted there and have not ended. */
  readonly active: Int32Array;
  readonly #view: View;
  readonly #rows = new Map<string, number>();
  readonly #loaded: Uint8Array;
  readonly #placed = new Map<string, Set<number>>();
  readonly #hostPorts: (HeldPorts | undefined)[] = [];
  /** Of the few nodes on which something is preempted. */
  readonly #exchanges = new Map<number, Exchange>();
  /** Of the nodes that were looked at for a task that asks for generic resources. */
  readonly #ledgers = new Map<number, GenericLedger>();

  constructor(view: View) {
    this.#view = view;
    this.nodes = [...view.nodes.values()];
    const count = this.nodes.length;
    this.nodes.forEach((node, row) => {
      this.#rows.set(node.id, row);
    });
    this.freeNanoCpus = new Float64Array(count);
    this.freeMemoryBytes = new Float64Array(count);
    this.active = new Int32Array(count);
    this.#loaded = new Uint8Array(count);
  }

  row(nodeId: string): number | undefined {
    return this.#rows.get(nodeId);
  }

  /** The node of a row that exists. */
  node(row: number): Node {
    const node = this.nodes[row];
    if (node === undefined) throw new RangeError(`no row ${row}`);
    return node;
  }

  /** Makes sure that the numbers of a row are there. */
  load(row: number): void {
    if (this.#loaded[row] === 1) return;
    this.#loaded[row] = 1;
    const { id, description } = this.node(row);
    const { nanoCpus = 0, memoryBytes = 0 } = description ?? {};
    const known = this.#view.loads?.get(id);
    this.freeNanoCpus[row] = nanoCpus - (known?.nanoCpus ?? 0);
    this.freeMemoryBytes[row] = memoryBytes - (known?.memoryBytes ?? 0);
    this.active[row] = known?.active ?? 0;
    if (known !== undefined) {
      this.#hostPorts[row] = known.hostPorts.empty ? undefined : new HeldPorts(known.hostPorts);
      return;
    }
    for (const taskId of this.#view.tasksOfNode(id)) this.#count(row, taskId);
    const exchange = this.#exchanges.get(row);
    if (exchange !== undefined) this.#take(row, exchange.most, 1);
    // What is changing hands is not kept: it is rare, and soon over.
    else this.#keepSums(row);
  }

  #keepSums(row: number): void {
    const { id, description } = this.node(row);
    this.#view.loads?.set(id, {
      nanoCpus: (description?.nanoCpus ?? 0) - (this.freeNanoCpus[row] ?? 0),
      memoryBytes: (description?.memoryBytes ?? 0) - (this.freeMemoryBytes[row] ?? 0),
      active: this.active[row] ?? 0,
      hostPorts: new HeldPorts(this.#hostPorts[row]),
    });
  }

  /** What of CPU and memory is not reserved once those that were preempted have ended. */
  freeAfterLeaving(row: number): Amounts {
    this.load(row);
    const free = { nanoCpus: this.freeNanoCpus[row] ?? 0, memoryBytes: this.freeMemoryBytes[row] ?? 0 };
    const exchange = this.#exchanges.get(row);
    if (exchange === undefined) return free;
    const { most, coming } = exchange;
    return {
      nanoCpus: free.nanoCpus + most.nanoCpus - coming.nanoCpus,
      memoryBytes: free.memoryBytes + most.memoryBytes - coming.memoryBytes,
    };
  }

  ledger(row: number): GenericLedger {
    const known = this.#ledgers.get(row);
    if (known !== undefined) return known;
    const node = this.node(row);
    const ledger = new GenericLedger(node);
    for (const taskId of this.#view.tasksOfNode(node.id)) {
      const task = this.#view.tasks.get(taskId);
      if (task?.granted === undefined || !holdsResources(task, this.#view.statuses.get(taskId))) continue;
      const part = partOf(task);
      if (part !== undefined) ledger.hold(task.granted, part);
    }
    this.#ledgers.set(row, ledger);
    return ledger;
  }

  /** Of a task that was just placed on the row: the generic resources that it asks for. Undefined: it asks for none. */
  grant(
    row: number,
    { reservations }: ServiceSpec,
    part: 'staying' | 'coming',
  ): GenericResource[] | undefined {
    const requests = reservations.genericResources ?? [];
    if (requests.length === 0) return undefined;
    const granted = this.ledger(row).take(requests, part);
    if (granted === undefined) throw new RangeError(`row ${row} was chosen and has not what is asked for`);
    return granted;
  }

  /** Tasks of the row are stopped for one of this spec, which counts there now. */
  preempt(row: number, victims: readonly Victim[], spec: ServiceSpec): void {
    this.load(row);
    const exchange = this.#exchanges.get(row) ?? new Exchange();
    this.#exchanges.set(row, exchange);
    this.#take(row, exchange.most, -1);
    for (const { task, amounts } of victims) {
      if (partOf(task) === 'coming') {
        exchange.cancel(amounts);
        this.#ledgers.get(row)?.drop(task.granted ?? [], 'coming');
      } else {
        this.#take(row, amounts, -1);
        exchange.add('leaving', amounts);
        this.#ledgers.get(row)?.leave(task.granted ?? []);
      }
    }
    exchange.add('coming', amountsOf(spec));
    this.#take(row, exchange.most, 1);
    this.#reservePorts(row, spec);
    this.active[row] = (this.active[row] ?? 0) - victims.length + 1;
    this.#notePlaced(row, spec);
  }

  hostPorts(row: number): Pick<HeldPorts, 'inTheWayOf' | 'ofNumber'> {
    this.load(row);
    return this.#hostPorts[row] ?? NO_PORTS;
  }

  /** How much of the node is not reserved: the mean of the shares of CPU and memory, from 0 to 1. `load` it first. */
  freeShare(row: number): number {
    const { nanoCpus = 0, memoryBytes = 0 } = this.nodes[row]?.description ?? {};
    const cpu = nanoCpus === 0 ? 0 : (this.freeNanoCpus[row] ?? 0) / nanoCpus;
    const memory = memoryBytes === 0 ? 0 : (this.freeMemoryBytes[row] ?? 0) / memoryBytes;
    return (cpu + memory) / 2;
  }

  /** A task of this spec now counts on the row. */
  place(row: number, spec: ServiceSpec): void {
    this.load(row);
    this.#reserve(row, spec);
    this.active[row] = (this.active[row] ?? 0) + 1;
    this.#notePlaced(row, spec);
  }

  #notePlaced(row: number, spec: ServiceSpec): void {
    const rows = this.#placed.get(spec.name);
    if (rows === undefined) this.#placed.set(spec.name, new Set([row]));
    else rows.add(row);
  }

  /** Where this plan has placed tasks of a service: the view does not show them yet. */
  placedRows(serviceName: string): ReadonlySet<number> {
    return this.#placed.get(serviceName) ?? NO_ROWS;
  }

  #count(row: number, taskId: string): void {
    const task = this.#view.tasks.get(taskId);
    if (task === undefined) return;
    const status = this.#view.statuses.get(taskId);
    if (!holdsResources(task, status)) return;
    if (isWanted(task) && !isTerminal(effectiveState(task, status))) {
      this.active[row] = (this.active[row] ?? 0) + 1;
    }
    const spec = this.#view.revisions.get(revisionKey(task.serviceId, task.revision))?.spec;
    if (spec === undefined) return;
    const part = partOf(task);
    if (part === 'staying') this.#reserve(row, spec);
    else if (part !== undefined) this.#exchangeOn(row, spec, part);
  }

  /** Settled when all of the row is counted. */
  #exchangeOn(row: number, spec: ServiceSpec, part: Exclude<Part, 'staying'>): void {
    const exchange = this.#exchanges.get(row) ?? new Exchange();
    this.#exchanges.set(row, exchange);
    exchange.add(part, amountsOf(spec));
    this.#reservePorts(row, spec);
  }

  #take(row: number, { nanoCpus, memoryBytes }: Amounts, sign: 1 | -1): void {
    this.freeNanoCpus[row] = (this.freeNanoCpus[row] ?? 0) - sign * nanoCpus;
    this.freeMemoryBytes[row] = (this.freeMemoryBytes[row] ?? 0) - sign * memoryBytes;
  }

  #reserve(row: number, spec: ServiceSpec): void {
    this.freeNanoCpus[row] = (this.freeNanoCpus[row] ?? 0) - (spec.reservations.nanoCpus ?? 0);
    this.freeMemoryBytes[row] = (this.freeMemoryBytes[row] ?? 0) - (spec.reservations.memoryBytes ?? 0);
    this.#reservePorts(row, spec);
  }

  #reservePorts(row: number, spec: ServiceSpec): void {
    for (const port of hostPortsOf(spec)) {
      let ports = this.#hostPorts[row];
      if (ports === undefined) {
        ports = new HeldPorts();
        this.#hostPorts[row] = ports;
      }
      // Of one that leaves and the one that takes its place it counts once.
      if (!ports.ofNumber(port).some(({ hostIp }) => hostIp === port.hostIp)) ports.add(port);
    }
  }
}

/** A task that is stopped to make room, and what it reserves. */
export interface Victim {
  readonly task: Task;
  readonly amounts: Amounts;
}

export function amountsOf({ reservations }: ServiceSpec): Amounts {
  return { nanoCpus: reservations.nanoCpus ?? 0, memoryBytes: reservations.memoryBytes ?? 0 };
}

/** As what a task counts that holds resources; undefined: it never started, and never will. */
function partOf({ preempting, preemptedBy }: Task): Part | undefined {
  if (preempting === true) return preemptedBy === undefined ? 'coming' : undefined;
  return preemptedBy === undefined ? 'staying' : 'leaving';
}

/** Ports that a task of this spec binds on its node. Those that the node chooses itself never conflict. */
export function hostPortsOf(spec: ServiceSpec): PortClaim[] {
  return spec.ports.filter(({ mode, publishedPort }) => mode === 'host' && publishedPort !== 0);
}
