/**
 * Keeps the assignments of all nodes up to date from the store's changes, and says what changed for each. Changes are
 * noted as they come and worked off in a flush, so that a burst costs one frame a node. Pure: it reads the view, and
 * equals assignmentsFor() at every flush.
 */
import {
  type AssignmentSet,
  compareStates,
  type DesiredState,
  INGRESS_NETWORK_ID,
  type ServiceAssignment,
  type Task,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import {
  type AssignmentDiff,
  assignmentKey,
  listsToSet,
  sameData,
} from '../../shared/wire/assignment-diff.ts';
import type { Change } from '../store/store.ts';
import {
  type AssignmentView,
  currentSpec,
  endpointRows,
  FILE_TABLES,
  fileIds,
  isLive,
  meshPorts,
  observedState,
  peerRow,
  serviceRows,
  taskRow,
} from './assignment-rows.ts';
import { networkRow } from '../../shared/lib/network-row.ts';
import {
  addAll,
  addDelta,
  dropAll,
  emptyLists,
  type Keys,
  type Lists,
  withoutEmpty,
} from './assignment-lists.ts';
import { HeldFiles } from './held-files.ts';
import { Memberships, withIngress } from './memberships.ts';
import { Sections, SectionTable } from './network-sections.ts';
import { PeerTables } from './peer-tables.ts';
import { NO_FACTS, NO_NETWORKS, type TaskFacts } from './task-facts.ts';

/** How endpoints of tasks changed for those who had them. */
export interface ServingChange {
  /** Were serving, are not any more. */
  readonly withdrawn: readonly string[];
  readonly serving: readonly string[];
}

export class AssignmentTracker {
  readonly #view: AssignmentView;
  readonly #held = new Set<string>();
  readonly #facts = new Map<string, TaskFacts>();
  readonly #serviceRows = new Map<string, readonly ServiceAssignment[]>();
  readonly #publishing = new Set<string>();
  #publishedBefore = false;
  /** False until the first flush: what earlier managers told is not known. */
  #loaded = false;
  readonly #sections = new Sections();
  readonly #memberships = new Memberships();
  readonly #peers = new PeerTables(this.#sections);
  readonly #files: HeldFiles;
  readonly #ownTasks = new Map<string, SectionTable<TaskAssignment>>();
  /** Nodes whose own tasks may have changed since the last flush. */
  readonly #touchedNodes = new Set<string>();
  readonly #dirty = {
    tasks: new Set<string>(),
    services: new Set<string>(),
    networks: new Set<string>(),
    nodes: new Set<string>(),
  };
  /** Tasks whose endpoints stopped serving, or began to, since the last flush. */
  readonly #withdrawn = new Set<string>();
  readonly #nowServing = new Set<string>();

  constructor(view: AssignmentView) {
    this.#view = view;
    this.#files = new HeldFiles(view);
    for (const id of view.tasks.keys()) this.#dirty.tasks.add(id);
    for (const id of view.services.keys()) this.#dirty.services.add(id);
    for (const id of view.networks.keys()) this.#dirty.networks.add(id);
    for (const id of view.nodes.keys()) this.#dirty.nodes.add(id);
  }

  /** Tasks of which their own node is not told yet that they are to stop. */
  get held(): ReadonlySet<string> {
    return this.#held;
  }

  note(changes: readonly Change[]): void {
    for (const change of changes) this.#noteOne(change);
  }

  /** The task's own node may learn now that it is to stop: the next flush tells it. */
  release(taskId: string): void {
    if (this.#held.delete(taskId)) this.#dirty.tasks.add(taskId);
  }

  /** How long the task is to run on, by what its service asks for now, once nothing is led to it any more. */
  withdrawWaitMs(taskId: string): number {
    const task = this.#view.tasks.get(taskId);
    return task === undefined ? 0 : (currentSpec(this.#view, task)?.withdrawWaitMs ?? 0);
  }

  get hasChanges(): boolean {
    return this.#files.hasChanges || Object.values(this.#dirty).some((set) => set.size > 0);
  }

  /**
   * Works off what was noted. `tell` is called once, between computing and forgetting, with a function that says what
   * changed for a node; `newlyHeld` are the tasks that are to stop and wait for release().
   */
  flush(tell: (flush: Flush) => void): void {
    const newlyHeld: string[] = [];
    for (const id of this.#dirty.services) this.#updateService(id);
    for (const id of this.#dirty.networks) this.#updateNetwork(id);
    for (const id of this.#dirty.nodes) this.#updatePeer(id);
    for (const id of this.#dirty.tasks) {
      if (this.#updateTask(id)) newlyHeld.push(id);
    }
    for (const set of Object.values(this.#dirty)) set.clear();
    tell({
      newlyHeld,
      nodes: this.#changedNodes(),
      diffOf: (nodeId) => this.#diffOf(nodeId),
      servingOf: (diff) => this.#servingOf(diff),
    });
    this.#settle();
  }

  /** All that the node should hold, as of the last flush. */
  full(nodeId: string): AssignmentSet {
    const lists: Lists = emptyLists();
    lists.tasks.push(...(this.#ownTasks.get(nodeId)?.rows.values() ?? []));
    for (const table of FILE_TABLES) lists[table].push(...this.#files.rows(nodeId, table));
    const networks = this.#networksNow(nodeId);
    for (const row of this.#peers.full(nodeId, { networks, published: this.#publishing.size > 0 }))
      lists.peers.push(row);
    for (const networkId of networks) addAll(this.#sections, networkId, lists);
    return listsToSet(lists);
  }

  /** True once the node has reported that it starts the task, or more. */
  hasStarted(taskId: string): boolean {
    return compareStates(observedState(this.#view, taskId), 'starting') >= 0;
  }

  /** Tasks in `set` that run but do not serve: a node that was away may still serve them until it acknowledges. */
  notServing(set: AssignmentSet): readonly string[] {
    const rows = [...set.endpoints.values()].filter((row) => !row.serving);
    return [...new Set(rows.map((row) => row.taskId))].filter(
      (taskId) => observedState(this.#view, taskId) === 'running',
    );
  }

  #noteOne(change: Change): void {
    switch (change.table) {
      case 'tasks':
      case 'statuses':
        this.#dirty.tasks.add(change.key);
        return;
      case 'services':
        this.#dirty.services.add(change.key);
        // Whether its tasks are measured is said by the current revision, not by theirs.
        if (change.before?.revision !== change.after?.revision)
          for (const taskId of this.#view.tasksOfService(change.key)) this.#dirty.tasks.add(taskId);
        return;
      case 'revisions': {
        const serviceId = (change.after ?? change.before)?.serviceId;
        if (serviceId === undefined) return;
        this.#dirty.services.add(serviceId);
        for (const taskId of this.#view.tasksOfService(serviceId)) this.#dirty.tasks.add(taskId);
        return;
      }
      case 'networks':
        this.#dirty.networks.add(change.key);
        return;
      case 'nodes':
        this.#dirty.nodes.add(change.key);
        // Host names of containers may be made of the node's.
        if (!sameData(change.before?.description, change.after?.description)) {
          for (const taskId of this.#view.tasksOfNode(change.key)) this.#dirty.tasks.add(taskId);
        }
        return;
      case 'secrets':
      case 'configs':
        if (change.before === undefined || change.after === undefined)
          this.#files.noteRecord(change.table, change.key);
        return;
      default:
        return;
    }
  }

  /** True when the task is newly to be stopped, and its node waits for release(). */
  #updateTask(id: string): boolean {
    const before = this.#facts.get(id) ?? NO_FACTS;
    const task = this.#view.tasks.get(id);
    const live = task !== undefined && isLive(this.#view, task);
    const newlyHeld = live && isStop(task.desired) && this.#mayBeServed(task, before);
    if (newlyHeld) this.#held.add(id);
    if (!live || !isStop(task.desired)) this.#held.delete(id);
    const after: TaskFacts =
      task === undefined
        ? NO_FACTS
        : {
            nodeId: task.nodeId,
            desired: task.desired,
            row: taskRow(this.#view, task, !this.#held.has(id)),
            endpoints: endpointRows(this.#view, task),
            networks:
              live && task.addresses.length > 0 ? task.addresses.map(({ network }) => network) : NO_NETWORKS,
            files: fileIds(this.#view, task),
          };
    this.#replaceFacts(id, before, after);
    if (task === undefined) this.#facts.delete(id);
    else this.#facts.set(id, after);
    return newlyHeld;
  }

  /** True when nodes may have been told to lead traffic to the task: by us, or by a manager before us. */
  #mayBeServed(task: Task, before: TaskFacts): boolean {
    if (this.#loaded) return before.desired === 'running' && before.endpoints.length > 0;
    return task.addresses.length > 0 && observedState(this.#view, task.id) === 'running';
  }

  #replaceFacts(id: string, before: TaskFacts, after: TaskFacts): void {
    if (after.nodeId !== undefined) this.#tasksOf(after.nodeId).set(id, after.row);
    if (before.nodeId !== undefined && before.nodeId !== after.nodeId) {
      this.#tasksOf(before.nodeId).set(id, undefined);
    }
    if (before.nodeId !== after.nodeId || !sameData(before.networks, after.networks)) {
      for (const network of after.networks) {
        if (this.#memberships.add(after.nodeId ?? '', network)) this.#peers.join(after.nodeId ?? '', network);
      }
      for (const network of before.networks) {
        if (this.#memberships.remove(before.nodeId ?? '', network))
          this.#peers.leave(before.nodeId ?? '', network);
      }
    }
    if (before.nodeId !== after.nodeId || !sameData(before.files, after.files))
      this.#files.move(before, after);
    const kept = new Set(after.endpoints.map(({ networkId }) => networkId));
    for (const row of before.endpoints) {
      if (kept.has(row.networkId)) continue;
      this.#sections.touch(row.networkId).endpoints.set(assignmentKey.endpoints(row), undefined);
    }
    for (const row of after.endpoints) {
      this.#sections.touch(row.networkId).endpoints.set(assignmentKey.endpoints(row), row);
    }
    const served = before.endpoints.some((row) => row.serving);
    const serves = after.endpoints.some((row) => row.serving);
    if (served && !serves && after.endpoints.length > 0) this.#withdrawn.add(id);
    if (!served && serves) this.#nowServing.add(id);
  }

  #updateService(id: string): void {
    const service = this.#view.services.get(id);
    const before = this.#serviceRows.get(id) ?? [];
    const after = service === undefined ? [] : serviceRows(this.#view, service);
    const kept = new Set(after.map(({ networkId }) => networkId));
    for (const row of before) {
      if (!kept.has(row.networkId)) this.#setService(row, undefined);
    }
    for (const row of after) this.#setService(row, row);
    if (service === undefined) this.#serviceRows.delete(id);
    else this.#serviceRows.set(id, after);
    if (service !== undefined && meshPorts(service).length > 0) this.#publishing.add(id);
    else this.#publishing.delete(id);
  }

  #setService(at: ServiceAssignment, row: ServiceAssignment | undefined): void {
    this.#sections.touch(at.networkId).services.set(assignmentKey.services(at), row);
  }

  #updateNetwork(id: string): void {
    const network = this.#view.networks.get(id);
    this.#sections.touch(id).networks.set(id, network === undefined ? undefined : networkRow(network));
  }

  #updatePeer(id: string): void {
    const node = this.#view.nodes.get(id);
    this.#peers.set(id, node === undefined ? undefined : peerRow(node), this.#memberships.now(id));
  }

  #tasksOf(nodeId: string): SectionTable<TaskAssignment> {
    this.#touchedNodes.add(nodeId);
    const table = this.#ownTasks.get(nodeId) ?? new SectionTable<TaskAssignment>();
    this.#ownTasks.set(nodeId, table);
    return table;
  }

  #networksNow(nodeId: string): ReadonlySet<string> {
    return withIngress(this.#memberships.now(nodeId), this.#publishing.size > 0);
  }

  /** All that may have to be told something; 'all' when that concerns ingress, which every node is on. */
  #changedNodes(): ReadonlySet<string> | 'all' {
    const publishes = this.#publishing.size > 0;
    if (publishes !== this.#publishedBefore || (publishes && this.#peers.changed.size > 0)) return 'all';
    const nodes = new Set(this.#touchedNodes);
    for (const nodeId of this.#memberships.changed()) nodes.add(nodeId);
    for (const nodeId of this.#files.changedNodes()) nodes.add(nodeId);
    for (const nodeId of this.#peers.changed) nodes.add(nodeId);
    for (const networkId of this.#sections.changed()) {
      if (publishes && networkId === INGRESS_NETWORK_ID) return 'all';
      for (const nodeId of this.#memberships.nodesOf(networkId)) nodes.add(nodeId);
    }
    return nodes;
  }

  #diffOf(nodeId: string): AssignmentDiff {
    const own = this.#ownTasks.get(nodeId)?.delta();
    const before = withIngress(this.#memberships.before(nodeId), this.#publishedBefore);
    const now = this.#networksNow(nodeId);
    const peers = this.#peers.diff(
      nodeId,
      { networks: before, published: this.#publishedBefore },
      { networks: now, published: this.#publishing.size > 0 },
    );
    const put: Lists = { ...emptyLists(), tasks: [...(own?.put ?? [])], peers: [...peers.put] };
    const drop: Keys = { ...emptyLists(), tasks: [...(own?.drop ?? [])], peers: [...peers.drop] };
    for (const table of FILE_TABLES) {
      const files = this.#files.diff(nodeId, table);
      put[table].push(...files.put);
      drop[table].push(...files.drop);
    }
    for (const networkId of now) {
      if (before.has(networkId)) addDelta(this.#sections, networkId, put, drop);
      else addAll(this.#sections, networkId, put);
    }
    for (const networkId of before) {
      if (!now.has(networkId)) dropAll(this.#sections, networkId, drop);
    }
    return { put: withoutEmpty(put), drop: withoutEmpty(drop) };
  }

  #servingOf(diff: AssignmentDiff): ServingChange {
    const told = new Set((diff.put.endpoints ?? []).map((row) => row.taskId));
    return {
      withdrawn: [...told].filter((taskId) => this.#withdrawn.has(taskId)),
      serving: [...told].filter((taskId) => this.#nowServing.has(taskId)),
    };
  }

  #settle(): void {
    this.#loaded = true;
    this.#sections.settle();
    this.#memberships.settle();
    this.#files.settle();
    this.#peers.settle();
    this.#publishedBefore = this.#publishing.size > 0;
    for (const nodeId of this.#touchedNodes) {
      const table = this.#ownTasks.get(nodeId);
      table?.changed.clear();
      if (table?.rows.size === 0) this.#ownTasks.delete(nodeId);
    }
    this.#touchedNodes.clear();
    this.#withdrawn.clear();
    this.#nowServing.clear();
  }
}

/** What a flush found. Valid only during the call. */
export interface Flush {
  /** Tasks that are to stop, whose own node has not been told. */
  readonly newlyHeld: readonly string[];
  /** No other node's diff has anything in it. */
  readonly nodes: ReadonlySet<string> | 'all';
  readonly diffOf: (nodeId: string) => AssignmentDiff;
  readonly servingOf: (diff: AssignmentDiff) => ServingChange;
}

function isStop(desired: DesiredState): boolean {
  return desired !== 'ready' && desired !== 'running';
}
