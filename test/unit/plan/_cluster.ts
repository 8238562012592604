/** Builds a cluster in memory and plays it forward, so that a test reads as a story. */
import type { Plan } from '../../../manager/plan/plan.ts';
import { plan } from '../../../manager/plan/plan.ts';
import { effectiveState, isWanted } from '../../../manager/plan/states.ts';
import type { Recommendations } from '../../../manager/plan/reconcile/autoscale.ts';
import type { UsageSource, View } from '../../../manager/plan/view.ts';
import { viewOf } from '../../../manager/plan/view.ts';
import type { Write } from '../../../manager/store/store.ts';
import type {
  Cluster,
  Network,
  NetworkSpec,
  Node,
  NodeDescription,
  NodeConfinement,
  NodeDevices,
  NodeDrivers,
  NodeSpec,
  Service,
  ServiceMode,
  ServiceSpec,
  Task,
  TaskState,
  TaskStatus,
} from '../../../shared/model/index.ts';
import { compareStates, DEFAULT_RESTART, DEFAULT_UPDATE, isTerminal } from '../../../shared/model/index.ts';
import { newKeysOf, newKeysOfNetwork, newSpecKeys } from '../../../shared/wire/spec-keys.ts';
import { MemoryStore } from '../../sim/memory-store.ts';

export const GB = 2 ** 30;
export const SECOND = 1_000_000_000;

export type SpecChanges = Partial<
  Omit<ServiceSpec, 'mode' | 'placement' | 'restart' | 'update' | 'rollback'>
> & {
  readonly replicas?: number;
  readonly global?: boolean;
  readonly mode?: ServiceMode;
  readonly image?: string;
  readonly constraints?: readonly string[];
  readonly placement?: Partial<ServiceSpec['placement']>;
  readonly restart?: Partial<ServiceSpec['restart']>;
  readonly update?: Partial<ServiceSpec['update']>;
  readonly rollback?: Partial<ServiceSpec['rollback']>;
};

export function specOf(name: string, changes: SpecChanges = {}): ServiceSpec {
  const {
    replicas = 1,
    global,
    mode = global === true ? { kind: 'global' } : { kind: 'replicated', replicas },
    image = 'img:1',
    constraints = [],
    placement,
    restart,
    update,
    rollback,
    ...rest
  } = changes;
  return {
    name,
    labels: {},
    mode,
    container: { image, labels: {}, command: [], args: [], env: [], mounts: [] },
    limits: {},
    reservations: {},
    restart: { ...DEFAULT_RESTART, ...restart },
    placement: { constraints, spread: [], maxReplicasPerNode: 0, ...placement },
    update: { ...DEFAULT_UPDATE, ...update },
    rollback: { ...DEFAULT_UPDATE, ...rollback },
    networks: [],
    endpointMode: 'vip',
    ports: [],
    forceUpdate: 0,
    ...rest,
  };
}

type NodeChanges = Partial<NodeSpec> & {
  readonly status?: Node['status'];
  readonly description?: Partial<NodeDescription>;
  readonly drivers?: NodeDrivers;
  readonly devices?: NodeDevices;
  readonly confinement?: NodeConfinement;
};

export class TestCluster {
  readonly store = new MemoryStore();
  now = 1_000_000;
  /** The plan that `plan()` made last. */
  last: Plan | undefined;
  /** Tasks whose containers never come up. */
  hangs: (task: Task) => boolean = () => false;
  /** What tasks use; undefined: nobody measures. */
  usage: UsageSource | undefined;
  /** What a leader remembers for services that are scaled by use. */
  recommended = new Map<string, Recommendations>();
  #calls = 0;
  #changes = new Map<string, SpecChanges>();

  constructor(cluster: Partial<Cluster> = {}) {
    this.put('cluster', 'self', {
      id: 'self',
      clusterId: 'c',
      createdAtMs: 1,
      updatedAtMs: 1,
      caCertificatePem: '',
      secrets: { plain: { caKeyPem: '', joinSecrets: { worker: 'w', manager: 'm' } } },
      addressPool: '10.0.0.0/8',
      subnetBits: 24,
      nodeDownAfterMs: 2000,
      taskHistoryLimit: 5,
      ...cluster,
    });
  }

  put(table: Write['table'], key: string, value: Write['value']): this {
    this.store.commitNow([{ table, key, value } as Write]);
    return this;
  }

  /** Nodes n1, n2, ... */
  nodes(count: number, changes: NodeChanges = {}): this {
    const first = this.store.all('nodes').size + 1;
    for (let i = first; i < first + count; i += 1) this.node(`n${i}`, changes);
    return this;
  }

  node(id: string, { status, description, drivers, devices, confinement, ...spec }: NodeChanges = {}): this {
    const before = this.store.get('nodes', id);
    const index = before?.index ?? this.store.all('nodes').size + 1;
    return this.put('nodes', id, {
      id,
      ...(drivers === undefined ? {} : { drivers }),
      ...(devices === undefined ? {} : { devices }),
      ...(confinement === undefined ? {} : { confinement }),
      spec: { role: 'worker', availability: 'active', labels: {}, ...before?.spec, ...spec },
      description: {
        hostname: id,
        os: 'linux',
        arch: 'x86_64',
        nanoCpus: 4e9,
        memoryBytes: 8 * GB,
        localSubnets: [],
        engineVersion: '0.1.0',
        knows: newSpecKeys(),
        engineLabels: {},
        address: `192.168.${Math.floor(index / 256)}.${index % 256}`,
        ...before?.description,
        ...description,
      },
      status: status ?? before?.status ?? 'ready',
      statusAtMs: status === undefined ? (before?.statusAtMs ?? this.now) : this.now,
      createdAtMs: before?.createdAtMs ?? this.now,
      updatedAtMs: this.now,
      index,
    });
  }

  removeNode(id: string): this {
    return this.put('nodes', id, null);
  }

  network(id: string, spec: Partial<NetworkSpec> = {}): this {
    return this.put('networks', id, {
      id,
      createdAtMs: this.now,
      spec: {
        name: id,
        labels: {},
        driver: 'overlay',
        internal: false,
        attachable: false,
        ingress: false,
        driverOptions: {},
        ...spec,
      },
    });
  }

  /** Creates the service, or updates it as the API does: a new revision with these changes on top of the old ones. */
  service(name: string, changes: SpecChanges = {}): this {
    const before = this.store.get('services', name);
    if (before === undefined) this.#changes.delete(name);
    const all = { ...this.#changes.get(name), ...changes };
    this.#changes.set(name, all);
    const revision = (before?.revision ?? 0) + 1;
    const key = `${name}.${revision}`;
    const { updateStatus: _cleared, ...kept } = before ?? { createdAtMs: this.now };
    const spec = specOf(name, all);
    const written = { id: key, serviceId: name, revision, createdAtMs: this.now, spec };
    const record: Service = {
      ...kept,
      id: name,
      name,
      revision,
      updatedAtMs: this.now,
      ...(before === undefined ? {} : { previousRevision: before.revision }),
    };
    this.store.commitNow([
      { table: 'revisions', key, value: written },
      { table: 'names', key: `service:${name}`, value: { id: name } },
      { table: 'services', key: name, value: record },
    ]);
    return this;
  }

  removeService(name: string): this {
    const service = this.get(name);
    return this.put('services', name, { ...service, removing: true });
  }

  view(): View {
    const { usage, recommended } = this;
    const measured = usage === undefined ? {} : { usage, recommended };
    const view = viewOf(this.store, { newKeysOf, newKeysOfNetwork, ...measured });
    if (view === undefined) throw new Error('no cluster');
    return view;
  }

  /** Plans everything once and writes the result. */
  plan(limit = 1000): Plan {
    this.#calls += 1;
    const result = plan(this.view(), {
      dirtyServices: 'all',
      now: this.now,
      seed: `test ${this.#calls}`,
      limit,
    });
    this.store.commitNow(result.writes, { guards: result.guards });
    for (const [id, history] of result.recommended) this.recommended.set(id, history);
    this.last = result;
    return result;
  }

  /** Plans, and lets every agent do at once what it is told, until nothing changes. Time stands still. */
  settle(): this {
    for (let i = 0; i < 200; i += 1) {
      const { writes } = this.plan();
      if (writes.length === 0 && !this.obey()) return this;
      this.obey();
    }
    throw new Error('the plan does not come to rest');
  }

  /** Settles, then time passes and timers fire on the way. */
  elapse(ms: number): this {
    const end = this.now + ms;
    for (let i = 0; i < 500; i += 1) {
      this.settle();
      const wakeAt = this.last?.wakeAt;
      if (this.now >= end) return this;
      this.now = wakeAt !== undefined && wakeAt > this.now && wakeAt < end ? wakeAt : end;
    }
    throw new Error('timers never end');
  }

  /** Every ready node does what it is told. True when something moved. */
  obey(): boolean {
    let moved = false;
    for (const task of [...this.store.all('tasks').values()]) {
      const node = task.nodeId === undefined ? undefined : this.store.get('nodes', task.nodeId);
      if (node?.status !== 'ready') continue;
      const state = this.stateOf(task);
      if (isTerminal(state)) continue;
      const wanted = this.hangs(task) && task.desired === 'running' ? 'starting' : task.desired;
      const target = !isWanted(task) ? 'shutdown' : wanted;
      if (compareStates(state, target) >= 0) continue;
      this.report(task.id, target);
      moved = true;
    }
    return moved;
  }

  report(taskId: string, state: TaskState, more: Partial<TaskStatus> = {}): this {
    const before = this.store.get('statuses', taskId);
    const startedAtMs = before?.startedAtMs ?? (state === 'running' ? this.now : undefined);
    return this.put('statuses', taskId, {
      taskId,
      state,
      atMs: this.now,
      message: state,
      ...(startedAtMs === undefined ? {} : { startedAtMs }),
      ...more,
    });
  }

  stateOf(task: Task): TaskState {
    return effectiveState(task, this.store.get('statuses', task.id));
  }

  get(name: string): Service {
    const service = this.store.get('services', name);
    if (service === undefined) throw new Error(`no service ${name}`);
    return service;
  }

  getNetwork(id: string): Network | undefined {
    return this.store.get('networks', id);
  }

  tasks(name: string): Task[] {
    return [...this.store.all('tasks').values()].filter(({ serviceId }) => serviceId === name);
  }

  /** Tasks that are wanted, by slot. */
  wanted(name: string): Task[] {
    return this.tasks(name)
      .filter(isWanted)
      .sort((a, b) => a.slot - b.slot || a.createdAtMs - b.createdAtMs);
  }

  running(name: string): Task[] {
    return this.wanted(name).filter((task) => this.stateOf(task) === 'running');
  }

  /** Wanted tasks a node, e.g. { n1: 2, n2: 1 }. */
  spread(name: string): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { nodeId = 'none' } of this.wanted(name)) counts[nodeId] = (counts[nodeId] ?? 0) + 1;
    return counts;
  }

  reasons(name: string): (string | undefined)[] {
    return this.wanted(name).map(({ pendingReason }) => pendingReason);
  }
}

export function cluster(changes: Partial<Cluster> = {}): TestCluster {
  return new TestCluster(changes);
}
