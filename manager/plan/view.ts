/** What plan() may see: a consistent, read-only picture of the cluster. The store's mirror offers it as it is. */
import type {
  Cluster,
  Network,
  Node,
  Revision,
  Service,
  ServiceSpec,
  Task,
  TaskStatus,
} from '../../shared/model/index.ts';
import type { Store, TableName } from '../store/store.ts';
import type { Recommendations } from './reconcile/autoscale.ts';
import type { NodeLoads } from './schedule/node-loads.ts';

/** What a task used over the last few seconds; `atMs` is when the manager heard of it, by its own clock. */
export interface UsageSample {
  readonly atMs: number;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
}

/** The newest samples of a task that its node has sent; [] of one that nothing is heard of. */
export interface UsageSource {
  samples(nodeId: string, taskId: string): readonly UsageSample[];
}

export interface View {
  readonly cluster: Cluster;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly services: ReadonlyMap<string, Service>;
  /** Key: `${serviceId}.${revision}`. */
  readonly revisions: ReadonlyMap<string, Revision>;
  readonly tasks: ReadonlyMap<string, Task>;
  /** Key: task id. A task without one is `new` (pending when it has no node, assigned when it has). */
  readonly statuses: ReadonlyMap<string, TaskStatus>;
  readonly networks: ReadonlyMap<string, Network>;
  /** Id of the service that has this name. */
  serviceNamed(name: string): string | undefined;
  tasksOfService(serviceId: string): ReadonlySet<string>;
  tasksOfNode(nodeId: string): ReadonlySet<string>;
  /** Sums of what was looked at by earlier plans; absent: each plan makes its own. */
  readonly loads?: NodeLoads;
  /** What tasks use, as far as this manager hears of it. Absent: nothing is scaled by it. */
  readonly usage?: UsageSource;
  /** By service, from the plans before. */
  readonly recommended?: ReadonlyMap<string, Recommendations>;
  /** What of a spec older nodes do not know (shared/wire/spec-keys.ts). Absent: nothing. */
  readonly newKeysOf?: (spec: ServiceSpec) => readonly string[];
  /** The same of a network. */
  readonly newKeysOfNetwork?: (network: Network) => readonly string[];
  /** Version of an object (0: absent), so that a plan can guard what it decided on. */
  version(table: TableName, key: string): number;
}

/** A view of the store as it is now. It stays live: plan() must run on it without a pause. */
export function viewOf(
  store: Store,
  more: Pick<View, 'loads' | 'usage' | 'recommended' | 'newKeysOf' | 'newKeysOfNetwork'> = {},
): View | undefined {
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined) return undefined;
  return {
    cluster,
    nodes: store.all('nodes'),
    services: store.all('services'),
    revisions: store.all('revisions'),
    tasks: store.all('tasks'),
    statuses: store.all('statuses'),
    networks: store.all('networks'),
    serviceNamed: (name) => store.get('names', `service:${name}`)?.id,
    tasksOfService: (id) => store.tasksOfService(id),
    tasksOfNode: (id) => store.tasksOfNode(id),
    version: (table, key) => store.version(table, key),
    ...more,
  };
}
