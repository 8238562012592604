/**
 * What the tasks of each node hold, kept from one plan to the next: a plan looks at most nodes, and to sum up all of their
 * tasks each time would make a plan for a few tasks cost as much as the cluster is large. A task that is new is added;
 * whatever else changes makes the node be summed up again. Pure.
 */
import type { HeldPorts } from '../../../shared/lib/published-port.ts';
import type { ServiceSpec, Task, TaskStatus } from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import type { Change } from '../../store/store.ts';
import { holdsResources, isWanted, revisionKey } from '../states.ts';
import type { View } from '../view.ts';

export interface NodeLoad {
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  /** Tasks that are wanted there and have not ended. */
  readonly active: number;
  readonly hostPorts: HeldPorts;
}

export class NodeLoads {
  readonly #loads = new Map<string, NodeLoad>();

  get(nodeId: string): NodeLoad | undefined {
    return this.#loads.get(nodeId);
  }

  set(nodeId: string, load: NodeLoad): void {
    this.#loads.set(nodeId, load);
  }

  /** To be told of every change, as soon as the view has it. */
  note(changes: readonly Change[], view: View): void {
    for (const change of changes) {
      if (change.table === 'tasks') this.#noteTask(view, change.before, change.after);
      else if (change.table === 'statuses') this.#noteStatus(view, change.key, change.before, change.after);
      else if (change.table === 'nodes' && change.after === undefined) this.#loads.delete(change.key);
      // A revision never changes; one that comes or goes is seldom, and any task may be of it.
      else if (change.table === 'revisions' && change.before !== undefined) this.#loads.clear();
    }
  }

  #noteTask(view: View, before: Task | undefined, after: Task | undefined): void {
    if (before?.nodeId !== undefined) {
      this.#loads.delete(before.nodeId);
      if (after?.nodeId !== undefined) this.#loads.delete(after.nodeId);
      return;
    }
    if (after?.nodeId === undefined) return;
    const known = this.#loads.get(after.nodeId);
    const spec = view.revisions.get(revisionKey(after.serviceId, after.revision))?.spec;
    if (known === undefined) return;
    // One that waits for what was preempted is no simple sum.
    const isPlain =
      spec !== undefined && spec.ports.length === 0 && after.preempting === undefined && isWanted(after);
    if (isPlain && holdsResources(after, view.statuses.get(after.id)))
      this.set(after.nodeId, plus(known, spec));
    else this.#loads.delete(after.nodeId);
  }

  #noteStatus(
    view: View,
    taskId: string,
    before: TaskStatus | undefined,
    after: TaskStatus | undefined,
  ): void {
    const ended = (status: TaskStatus | undefined): boolean =>
      status !== undefined && isTerminal(status.state);
    if (ended(before) === ended(after)) return;
    const nodeId = view.tasks.get(taskId)?.nodeId;
    if (nodeId !== undefined) this.#loads.delete(nodeId);
  }
}

function plus(load: NodeLoad, { reservations }: ServiceSpec): NodeLoad {
  return {
    ...load,
    nanoCpus: load.nanoCpus + (reservations.nanoCpus ?? 0),
    memoryBytes: load.memoryBytes + (reservations.memoryBytes ?? 0),
    active: load.active + 1,
  };
}
