/**
 * What a node should hold, computed from scratch: the rule that assignment-tracker.ts must agree with at every step.
 * Pure.
 */
import {
  type AssignmentSet,
  type EndpointAssignment,
  type FileAssignment,
  INGRESS_NETWORK_ID,
  type NetworkAssignment,
  type PeerAssignment,
  type ServiceAssignment,
  type TaskAssignment,
} from '../../shared/model/index.ts';
import { assignmentKey } from '../../shared/wire/assignment-diff.ts';
import {
  type AssignmentView,
  endpointRows,
  fileIds,
  fileRow,
  type FileTable,
  isLive,
  meshPorts,
  peerRow,
  serviceRows,
  taskRow,
} from './assignment-rows.ts';
import { networkRow } from '../../shared/lib/network-row.ts';

/** `held`: tasks of which their own node must not learn yet that they are to stop (see withdrawal.ts). */
export function assignmentsFor(
  view: AssignmentView,
  nodeId: string,
  held: ReadonlySet<string>,
): AssignmentSet {
  const tasks = new Map<string, TaskAssignment>();
  for (const taskId of view.tasksOfNode(nodeId)) {
    const task = view.tasks.get(taskId);
    const row = task === undefined ? undefined : taskRow(view, task, !held.has(taskId));
    if (row !== undefined) tasks.set(taskId, row);
  }
  const networkIds = networksOfNode(view, nodeId);
  return {
    tasks,
    networks: networkTable(view, networkIds),
    endpoints: endpointTable(view, networkIds),
    services: serviceTable(view, networkIds),
    peers: peerTable(view, nodeId, networkIds),
    secrets: fileTable(view, nodeId, 'secrets'),
    configs: fileTable(view, nodeId, 'configs'),
  };
}

/** Those on which a task of the node that is not over has an address, and ingress when any service publishes through the mesh. */
export function networksOfNode(view: AssignmentView, nodeId: string): ReadonlySet<string> {
  const networkIds = addressedNetworks(view, nodeId);
  return isPublishing(view) ? networkIds.add(INGRESS_NETWORK_ID) : networkIds;
}

function isPublishing(view: AssignmentView): boolean {
  return [...view.services.values()].some((service) => meshPorts(service).length > 0);
}

function addressedNetworks(view: AssignmentView, nodeId: string): Set<string> {
  const networkIds = new Set<string>();
  for (const taskId of view.tasksOfNode(nodeId)) {
    const task = view.tasks.get(taskId);
    if (task === undefined || !isLive(view, task)) continue;
    for (const { network } of task.addresses) networkIds.add(network);
  }
  return networkIds;
}

function networkTable(
  view: AssignmentView,
  networkIds: ReadonlySet<string>,
): ReadonlyMap<string, NetworkAssignment> {
  const rows = [...networkIds].flatMap((id) => {
    const network = view.networks.get(id);
    return (network === undefined ? undefined : networkRow(network)) ?? [];
  });
  return new Map(rows.map((row) => [row.networkId, row]));
}

function endpointTable(
  view: AssignmentView,
  networkIds: ReadonlySet<string>,
): ReadonlyMap<string, EndpointAssignment> {
  const rows = [...view.tasks.values()].flatMap((task) => endpointRows(view, task));
  return new Map(
    rows.filter((row) => networkIds.has(row.networkId)).map((row) => [assignmentKey.endpoints(row), row]),
  );
}

function serviceTable(
  view: AssignmentView,
  networkIds: ReadonlySet<string>,
): ReadonlyMap<string, ServiceAssignment> {
  const rows = [...view.services.values()].flatMap((service) => serviceRows(view, service));
  return new Map(
    rows.filter((row) => networkIds.has(row.networkId)).map((row) => [assignmentKey.services(row), row]),
  );
}

function fileTable(
  view: AssignmentView,
  nodeId: string,
  table: FileTable,
): ReadonlyMap<string, FileAssignment> {
  const rows = [...view.tasksOfNode(nodeId)].flatMap((taskId) => {
    const task = view.tasks.get(taskId);
    const ids = task === undefined ? [] : fileIds(view, task)[table];
    return ids.flatMap((id) => fileRow(view, table, id) ?? []);
  });
  return new Map(rows.map((row) => [row.fileId, row]));
}

/** The node itself and those that share a network with it; once anything is published on ingress all. */
function peerTable(
  view: AssignmentView,
  nodeId: string,
  networkIds: ReadonlySet<string>,
): ReadonlyMap<string, PeerAssignment> {
  const all = isPublishing(view);
  const isKnown = (id: string): boolean =>
    all ||
    id === nodeId ||
    [...addressedNetworks(view, id)].some((other) => other !== INGRESS_NETWORK_ID && networkIds.has(other));
  const rows = [...view.nodes.values()].flatMap((node) => (isKnown(node.id) && peerRow(node)) || []);
  return new Map(rows.map((row) => [row.nodeId, row]));
}
