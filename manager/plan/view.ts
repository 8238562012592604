/** What plan() may see: a consistent, read-only picture of the cluster. The store's mirror offers it as it is. */
import type {
  Cluster,
  Network,
  Node,
  Revision,
  Service,
  Task,
  TaskStatus,
} from '../../shared/model/index.ts';

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
  tasksOfService(serviceId: string): ReadonlySet<string>;
  tasksOfNode(nodeId: string): ReadonlySet<string>;
}
