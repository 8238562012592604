/**
 * Every series of /metrics. The values of a label are bounded: by the cluster's nodes and services, or by a list in the code.
 * Tasks, containers, images and users never are labels. docs/operate.md has this table; a test compares.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

interface SeriesDefinition {
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds, in seconds. */
  readonly buckets?: readonly number[];
}

const FAST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const NODE = ['node_id', 'node'] as const;

const gauge = (help: string, ...labels: readonly string[]) => ({ type: 'gauge', help, labels }) as const;
const counter = (help: string, ...labels: readonly string[]) => ({ type: 'counter', help, labels }) as const;
const histogram = (help: string, ...labels: readonly string[]) =>
  ({ type: 'histogram', help, labels, buckets: FAST_SECONDS }) as const;

export const SERIES = {
  shoal_build_info: gauge('1; the label is the version of this manager', 'version'),
  shoal_managers: gauge('Nodes with the role manager'),
  shoal_leader: gauge('1 when this manager leads, else 0'),
  shoal_ca_end_timestamp_seconds: gauge('When the root of the CA ends: it is rotated by hand before'),
  shoal_nodes: gauge('Nodes', 'role', 'status', 'availability'),
  shoal_node_cpus: gauge('Processors that the node has said it has', ...NODE),
  shoal_node_memory_bytes: gauge('Memory that the node has said it has', ...NODE),
  shoal_node_connected: gauge('1 when the node has a session with this manager, else 0', ...NODE),
  shoal_node_tasks: gauge(
    'Tasks of the node by observed state; states without tasks are left out',
    ...NODE,
    'state',
  ),
  shoal_node_network_repairs_total: counter(
    'Changes by others to the networks’ state in the kernel that were undone, of nodes connected to this manager',
    ...NODE,
    'kind',
  ),
  shoal_node_ports_taken: gauge('Published ports of the node that another program listens on', ...NODE),
  shoal_services: gauge('Services'),
  shoal_service_replicas_desired: gauge('Tasks that the service should have running', 'service'),
  shoal_service_replicas_running: gauge('Tasks of the service that run and should', 'service'),
  shoal_tasks: gauge('Tasks by observed state', 'state'),
  shoal_tasks_pending: gauge('Tasks without a node, by the reason that most nodes gave', 'reason'),

  shoal_store_objects: gauge('Objects in this manager’s copy of the store', 'table'),
  shoal_store_revision: gauge('Newest etcd revision that the copy contains'),
  shoal_store_current: gauge('1 while the copy follows etcd, else 0'),
  shoal_store_commit_seconds: histogram(
    'From the call to the commit being in etcd and in the copy',
    'outcome',
  ),
  shoal_store_conflicts_total: counter('Commits that were refused because something had changed meanwhile'),
  shoal_store_watch_lag_seconds: histogram('From etcd’s answer to a commit to its arrival in the copy'),
  shoal_etcd_database_bytes: gauge('Size of etcd’s database; absent while etcd does not answer'),
  shoal_etcd_database_used_bytes: gauge('The same without what a defragmentation would give back'),

  shoal_plan_seconds: histogram('One plan of the leader'),
  shoal_plan_writes_total: counter('Objects that plans wanted written'),
  shoal_plan_retries_total: counter('Plans that could not be written and were made anew', 'reason'),

  shoal_dispatcher_sessions: gauge('Nodes connected to this manager'),
  shoal_dispatcher_strangers: gauge('Connections to the port for nodes that have not shown who they are'),
  shoal_dispatcher_refused_total: counter('What was refused on the port for nodes', 'reason'),
  shoal_dispatcher_assignments_total: counter('Assignment sets sent: full ones, and changes', 'kind'),
  shoal_dispatcher_statuses_total: counter('Statuses that nodes reported', 'verdict'),
  shoal_dispatcher_usages_total: counter('Reports on what a task uses, for autoscaling', 'verdict'),
  shoal_dispatcher_nodes_down_total: counter('Nodes that were declared down', 'reason'),
  shoal_dispatcher_certificates_total: counter(
    'Certificates of nodes that were renewed, or not; sessions ended by their end',
    'outcome',
  ),

  shoal_api_requests_total: counter('Requests that were answered', 'route', 'method', 'code'),
  shoal_api_request_seconds: histogram('From a request to the end of its answer', 'route', 'method'),
  shoal_api_refused_total: counter(
    'What was refused on the API’s TCP port before it was anybody’s',
    'reason',
  ),
  shoal_api_requests_open: gauge('Requests under way, streams among them'),
} as const satisfies Record<string, SeriesDefinition>;

type Name = keyof typeof SERIES;
type NameOf<T extends SeriesDefinition['type']> = {
  [N in Name]: (typeof SERIES)[N]['type'] extends T ? N : never;
}[Name];

/** The series as prom-client has them, found by name and kind. */
export class SeriesSet {
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();
  readonly #histograms = new Map<string, Histogram>();

  constructor(registry: Registry) {
    const registers = [registry];
    for (const [name, definition] of Object.entries<SeriesDefinition>(SERIES)) {
      const { type, help, labels } = definition;
      const options = { name, help, labelNames: [...labels], registers };
      if (type === 'gauge') this.#gauges.set(name, new Gauge(options));
      else if (type === 'counter') this.#counters.set(name, new Counter(options));
      else
        this.#histograms.set(name, new Histogram({ ...options, buckets: [...(definition.buckets ?? [])] }));
    }
  }

  gauge(name: NameOf<'gauge'>): Gauge {
    return found(this.#gauges, name);
  }

  counter(name: NameOf<'counter'>): Counter {
    return found(this.#counters, name);
  }

  histogram(name: NameOf<'histogram'>): Histogram {
    return found(this.#histograms, name);
  }
}

function found<T>(series: ReadonlyMap<string, T>, name: string): T {
  const one = series.get(name);
  if (one === undefined) throw new TypeError(`no series ${name}`);
  return one;
}
