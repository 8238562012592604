/** What the store's copy says of the cluster, read when somebody asks: one pass over the tables. */
import { X509Certificate } from 'node:crypto';
import type { Gauge } from 'prom-client';
import type { Node } from '../../shared/model/index.ts';
import { replicasOf } from '../../shared/model/index.ts';
import type { DispatcherCounts } from '../dispatcher/counts.ts';
import { effectiveState, revisionKey } from '../plan/states.ts';
import { pendingKind } from '../plan/schedule/pending-kind.ts';
import { type Store, TABLE_NAMES } from '../store/store.ts';
import type { SeriesSet } from './series.ts';

/** By node, as they say it. */
export function readRepairs(series: SeriesSet, store: Store, repairs: DispatcherCounts['repairs']): void {
  const counter = series.counter('shoal_node_network_repairs_total');
  counter.reset();
  for (const [nodeId, kinds] of repairs) {
    const node = store.get('nodes', nodeId);
    if (node === undefined) continue;
    for (const [kind, count] of Object.entries(kinds)) counter.inc({ ...nodeLabels(node), kind }, count);
  }
}

export function readCluster(series: SeriesSet, store: Store, connected: (nodeId: string) => boolean): void {
  readNodes(series, store, connected);
  const counts = countTasks(store);
  fill(series.gauge('shoal_tasks'), counts.states, (state) => ({ state }));
  fill(series.gauge('shoal_tasks_pending'), counts.pending, (reason) => ({ reason }));
  readNodeTasks(series, store, counts.nodes);
  readServices(series, store, counts);
  for (const table of TABLE_NAMES) series.gauge('shoal_store_objects').set({ table }, store.all(table).size);
  series.gauge('shoal_store_revision').set(store.revision);
  const root = store.get('cluster', 'self')?.caCertificatePem;
  if (root !== undefined && root !== '')
    series.gauge('shoal_ca_end_timestamp_seconds').set(Date.parse(new X509Certificate(root).validTo) / 1000);
}

function readNodes(series: SeriesSet, store: Store, connected: (nodeId: string) => boolean): void {
  const [taken, cpus, memory, session] = [
    series.gauge('shoal_node_ports_taken'),
    series.gauge('shoal_node_cpus'),
    series.gauge('shoal_node_memory_bytes'),
    series.gauge('shoal_node_connected'),
  ];
  for (const one of [taken, cpus, memory, session]) one.reset();
  const kinds = new Map<string, number>();
  let managers = 0;
  for (const node of store.all('nodes').values()) {
    const { role, availability } = node.spec;
    if (role === 'manager') managers += 1;
    add(kinds, `${role} ${node.status} ${availability}`);
    const labels = nodeLabels(node);
    taken.set(labels, node.takenPorts?.length ?? 0);
    session.set(labels, connected(node.id) ? 1 : 0);
    if (node.description === undefined) continue;
    cpus.set(labels, node.description.nanoCpus / 1e9);
    memory.set(labels, node.description.memoryBytes);
  }
  fill(series.gauge('shoal_nodes'), kinds, (kind) => {
    const [role = '', status = '', availability = ''] = kind.split(' ');
    return { role, status, availability };
  });
  series.gauge('shoal_managers').set(managers);
}

function nodeLabels(node: Node): Record<string, string> {
  return { node_id: node.id, node: node.spec.name ?? node.description?.hostname ?? '' };
}

interface TaskCounts {
  readonly states: Map<string, number>;
  readonly pending: Map<string, number>;
  /** By node, then by state. */
  readonly nodes: Map<string, Map<string, number>>;
  /** By service. */
  readonly desired: Map<string, number>;
  readonly running: Map<string, number>;
}

function countTasks(store: Store): TaskCounts {
  const counts: TaskCounts = {
    states: new Map(),
    pending: new Map(),
    nodes: new Map(),
    desired: new Map(),
    running: new Map(),
  };
  const statuses = store.all('statuses');
  for (const task of store.all('tasks').values()) {
    const state = effectiveState(task, statuses.get(task.id));
    add(counts.states, state);
    if (task.pendingReason !== undefined && task.nodeId === undefined)
      add(counts.pending, pendingKind(task.pendingReason));
    if (task.nodeId !== undefined) {
      const ofNode = counts.nodes.get(task.nodeId) ?? new Map<string, number>();
      counts.nodes.set(task.nodeId, ofNode);
      add(ofNode, state);
    }
    if (task.desired !== 'running') continue;
    add(counts.desired, task.serviceId);
    if (state === 'running') add(counts.running, task.serviceId);
  }
  return counts;
}

function readNodeTasks(
  series: SeriesSet,
  store: Store,
  counts: ReadonlyMap<string, ReadonlyMap<string, number>>,
): void {
  const gauge = series.gauge('shoal_node_tasks');
  gauge.reset();
  for (const [nodeId, states] of counts) {
    const node = store.get('nodes', nodeId);
    // Ended tasks of a node that was removed: nobody's.
    if (node === undefined) continue;
    const labels = nodeLabels(node);
    for (const [state, count] of states) gauge.set({ ...labels, state }, count);
  }
}

function readServices(series: SeriesSet, store: Store, counts: TaskCounts): void {
  const desired = series.gauge('shoal_service_replicas_desired');
  const running = series.gauge('shoal_service_replicas_running');
  desired.reset();
  running.reset();
  let services = 0;
  for (const service of store.all('services').values()) {
    if (service.removing === true) continue;
    services += 1;
    const spec = store.get('revisions', revisionKey(service.id, service.revision))?.spec;
    const own = spec === undefined ? undefined : replicasOf(service, spec);
    desired.set({ service: service.name }, own ?? counts.desired.get(service.id) ?? 0);
    running.set({ service: service.name }, counts.running.get(service.id) ?? 0);
  }
  series.gauge('shoal_services').set(services);
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Replaces all that the gauge had. */
function fill(
  gauge: Gauge,
  counts: ReadonlyMap<string, number>,
  labels: (key: string) => Record<string, string>,
): void {
  gauge.reset();
  for (const [key, count] of counts) gauge.set(labels(key), count);
}
