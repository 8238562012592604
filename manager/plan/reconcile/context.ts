/** One service as reconcile sees it: its spec, its tasks by slot, and the questions asked of a task. */
import type {
  Node,
  Revision,
  Service,
  ServiceSpec,
  Task,
  TaskState,
  TaskStatus,
} from '../../../shared/model/index.ts';
import { isGlobalMode } from '../../../shared/model/index.ts';
import { effectiveState, isWanted, revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import { fitsConstraints, specOutdated } from './dirty.ts';

export interface SlotTask {
  readonly task: Task;
  readonly status: TaskStatus | undefined;
  readonly state: TaskState;
  readonly node: Node | undefined;
}

export interface Slot {
  /** Slot number, or the node's id for a global service. */
  readonly key: string;
  readonly slot: number;
  /** Global: where it must run. */
  readonly nodeId?: string;
  /** Oldest first. */
  readonly tasks: SlotTask[];
}

export class ServiceContext {
  readonly view: View;
  readonly service: Service;
  readonly revision: Revision;
  readonly now: number;
  readonly #outdated = new Map<number, boolean>();

  constructor(view: View, service: Service, revision: Revision, now: number) {
    this.view = view;
    this.service = service;
    this.revision = revision;
    this.now = now;
  }

  get spec(): ServiceSpec {
    return this.revision.spec;
  }

  get isGlobal(): boolean {
    return isGlobalMode(this.spec.mode);
  }

  /** True when the task is not what the current revision asks for. */
  isOutdated(task: Task): boolean {
    if (task.revision === this.service.revision) return false;
    if (this.#specOutdated(task.revision)) return true;
    const node = task.nodeId === undefined ? undefined : this.view.nodes.get(task.nodeId);
    return node !== undefined && !fitsConstraints(node, this.spec.placement.constraints);
  }

  /** Outdated and on a node. One without a node needs no update: it becomes current where it is. */
  isStale(task: Task): boolean {
    return task.nodeId !== undefined && this.isOutdated(task);
  }

  /** Constraints of the revision that the task was made for: a new revision's are the update's business. */
  constraintsOf(task: Task): readonly string[] {
    return this.#specOf(task.revision)?.placement.constraints ?? [];
  }

  /** Tasks by slot, oldest first in each. */
  slots(): Map<string, Slot> {
    const slots = new Map<string, Slot>();
    for (const id of this.view.tasksOfService(this.service.id)) {
      const task = this.view.tasks.get(id);
      if (task !== undefined) this.#slotOf(slots, task).tasks.push(this.#observe(task));
    }
    for (const slot of slots.values()) slot.tasks.sort(byAge);
    return slots;
  }

  #slotOf(slots: Map<string, Slot>, task: Task): Slot {
    const key = this.isGlobal ? (task.nodeId ?? '') : String(task.slot);
    let slot = slots.get(key);
    if (slot === undefined) {
      slot = { key, slot: task.slot, tasks: [], ...(this.isGlobal ? { nodeId: key } : {}) };
      slots.set(key, slot);
    }
    return slot;
  }

  #observe(task: Task): SlotTask {
    const status = this.view.statuses.get(task.id);
    const node = task.nodeId === undefined ? undefined : this.view.nodes.get(task.nodeId);
    return { task, status, state: effectiveState(task, status), node };
  }

  #specOf(revision: number): ServiceSpec | undefined {
    return this.view.revisions.get(revisionKey(this.service.id, revision))?.spec;
  }

  #specOutdated(revision: number): boolean {
    let outdated = this.#outdated.get(revision);
    if (outdated === undefined) {
      const spec = this.#specOf(revision);
      outdated = spec === undefined || specOutdated(spec, this.spec);
      this.#outdated.set(revision, outdated);
    }
    return outdated;
  }
}

export function byAge(a: SlotTask, b: SlotTask): number {
  return (
    a.task.createdAtMs - b.task.createdAtMs || movesOf(a) - movesOf(b) || (a.task.id < b.task.id ? -1 : 1)
  );
}

/** A move comes after what it takes the place of, also within one millisecond. */
function movesOf({ task }: SlotTask): number {
  return task.move === undefined ? 0 : 1;
}

/** The slot is in use: something in it is wanted, or ended and is not to be replaced. */
export function isOccupied(slot: Slot): boolean {
  return slot.tasks.some(({ task }) => isWanted(task) || task.desired === 'complete');
}
