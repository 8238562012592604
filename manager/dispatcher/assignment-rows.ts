/** What each record becomes in the assignments of the nodes that need it. Pure: one function a table. */
import {
  type DesiredState,
  type EndpointAssignment,
  type FileAssignment,
  INGRESS_NETWORK_ID,
  isOnMesh,
  isTerminal,
  type MeshPort,
  type Network,
  type Node,
  type PeerAssignment,
  type Revision,
  type Service,
  type ServiceSpec,
  type ServiceAssignment,
  type ServicePort,
  stackOfSpec,
  type Task,
  type TaskAssignment,
  type TaskState,
  type TaskStatus,
} from '../../shared/model/index.ts';
import { readAllowFrom } from '../../shared/lib/allow-list.ts';
import { isLocal } from '../../shared/lib/network-outside.ts';
import { taskContext, Template } from '../../shared/lib/template.ts';

/** The part of the store that assignments are made of. */
export interface AssignmentView {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly services: ReadonlyMap<string, Service>;
  readonly revisions: ReadonlyMap<string, Revision>;
  readonly tasks: ReadonlyMap<string, Task>;
  readonly statuses: ReadonlyMap<string, TaskStatus>;
  readonly networks: ReadonlyMap<string, Network>;
  /** Opened, as nodes get them. Undefined when there is none, or it does not open. */
  secret(id: string): FileAssignment | undefined;
  config(id: string): FileAssignment | undefined;
  tasksOfNode(nodeId: string): ReadonlySet<string>;
  tasksOfService(serviceId: string): ReadonlySet<string>;
}

export function revisionKey(serviceId: string, revision: number): string {
  return `${serviceId}.${revision}`;
}

export function observedState(view: AssignmentView, taskId: string): TaskState {
  return view.statuses.get(taskId)?.state ?? 'assigned';
}

/** True while something of the task may run: it has a node, and it is not over. */
export function isLive(view: AssignmentView, task: Task): boolean {
  return task.nodeId !== undefined && !isTerminal(observedState(view, task.id));
}

/**
 * True when VIP, names and published ports may lead to the task: it runs, it is wanted, and its health check (if it has
 * one) does not say otherwise, or is not asked.
 */
export function isServing(task: Task, status: TaskStatus | undefined, serveUnready = false): boolean {
  if (task.desired !== 'running' || status?.state !== 'running') return false;
  if (serveUnready) return true;
  return status.health === undefined || status.health === 'healthy';
}

/**
 * A task that is over stays with its node until its record is reaped, so that its logs do; it is never to run again.
 * `released` false: the node must not learn yet that the task is to stop (invariant 11).
 */
export function taskRow(view: AssignmentView, task: Task, released: boolean): TaskAssignment | undefined {
  const revision = view.revisions.get(revisionKey(task.serviceId, task.revision));
  if (task.nodeId === undefined || revision === undefined) return undefined;
  return {
    taskId: task.id,
    serviceId: task.serviceId,
    serviceName: revision.spec.name,
    slot: task.slot,
    nodeId: task.nodeId,
    desired: isLive(view, task) ? (released ? task.desired : 'running') : desiredWhenOver(task.desired),
    revision: task.revision,
    spec: revision.spec,
    addresses: task.addresses,
    ...(task.granted === undefined ? {} : { granted: task.granted }),
    ...(isMeasured(view, task) ? { measured: true as const } : {}),
  };
}

/** What the service asks for now: labels change without the tasks being made anew. */
export function currentSpec(view: AssignmentView, task: Task): ServiceSpec | undefined {
  const revision = view.services.get(task.serviceId)?.revision ?? task.revision;
  return view.revisions.get(revisionKey(task.serviceId, revision))?.spec;
}

function isMeasured(view: AssignmentView, task: Task): boolean {
  return currentSpec(view, task)?.autoscale !== undefined && isLive(view, task);
}

function desiredWhenOver(desired: DesiredState): DesiredState {
  return desired === 'ready' || desired === 'running' ? 'shutdown' : desired;
}

export const FILE_TABLES = ['secrets', 'configs'] as const;
export type FileTable = (typeof FILE_TABLES)[number];
export type FileIds = Readonly<Record<FileTable, readonly string[]>>;
export const NO_FILES: FileIds = { secrets: [], configs: [] };

/** Secrets and configs that the task's node holds for it: until the task is over. */
export function fileIds(view: AssignmentView, task: Task): FileIds {
  const spec = view.revisions.get(revisionKey(task.serviceId, task.revision))?.spec;
  if (spec === undefined || !isLive(view, task)) return NO_FILES;
  const { secrets = [], configs = [] } = spec.container;
  if (secrets.length + configs.length === 0) return NO_FILES;
  return { secrets: unique(secrets), configs: unique(configs) };
}

function unique(references: readonly { readonly id: string }[]): string[] {
  return [...new Set(references.map(({ id }) => id))];
}

export function fileRow(view: AssignmentView, table: FileTable, id: string): FileAssignment | undefined {
  return table === 'secrets' ? view.secret(id) : view.config(id);
}

/** Shared by all tasks without one: there may be a million. */
const NO_ENDPOINTS: readonly EndpointAssignment[] = [];

/** One row for each network on which the task has an address, until it is over. */
export function endpointRows(view: AssignmentView, task: Task): readonly EndpointAssignment[] {
  const revision = view.revisions.get(revisionKey(task.serviceId, task.revision));
  const nodeId = task.nodeId;
  if (task.addresses.length === 0 || nodeId === undefined || revision === undefined) return NO_ENDPOINTS;
  if (!isLive(view, task)) return NO_ENDPOINTS;
  const { spec } = revision;
  const asked = currentSpec(view, task)?.serveUnready;
  const serving = isServing(task, view.statuses.get(task.id), asked);
  // Through ingress only the mesh leads to a task: without a port of it no other node needs to know.
  const addresses = task.addresses.filter(({ network }) => network !== INGRESS_NETWORK_ID || isOnMesh(spec));
  return addresses.map(({ network, address }) => ({
    networkId: network,
    taskId: task.id,
    nodeId,
    serviceId: task.serviceId,
    serviceName: spec.name,
    slot: task.slot,
    address,
    aliases: spec.networks.find((attachment) => attachment.network === network)?.aliases ?? [],
    ...hostnameOf(view, task, spec),
    serving,
    ...(isLocalNetwork(view, network) ? { local: true as const } : {}),
  }));
}

/** The container's host name, filled in when it is a template. */
function hostnameOf(view: AssignmentView, task: Task, spec: ServiceSpec): { hostname?: string } {
  // Of a single container the first digits of its id, if nothing else.
  const own = spec.mode.kind === 'container' ? spec.mode.containerId.slice(0, 12) : undefined;
  const hostname = spec.container.hostname ?? own;
  if (hostname === undefined) return {};
  const node = view.nodes.get(task.nodeId ?? '')?.description;
  if (!hostname.includes('{{')) return { hostname };
  if (node === undefined) return {};
  try {
    return {
      hostname: new Template(hostname, false).fill(
        taskContext({ ...task, nodeId: task.nodeId ?? '' }, spec, node),
      ),
    };
  } catch (error) {
    // Its node rejects the task and says why.
    if (error instanceof TypeError) return {};
    throw error;
  }
}

/** One row for each network on which the service is known: those it is attached to, and ingress when it publishes. */
export function serviceRows(view: AssignmentView, service: Service): readonly ServiceAssignment[] {
  const spec = view.revisions.get(revisionKey(service.id, service.revision))?.spec;
  if (spec === undefined) return [];
  const vips = new Map(service.endpoint?.vips.map(({ network, address }) => [network, address]));
  const attached = new Map(spec.networks.map(({ network, aliases }) => [network, aliases]));
  const ports = meshPorts(service);
  const allowFrom = readAllowFrom(spec.labels);
  const named = namedPorts(spec);
  const stack = stackOfSpec(spec);
  const networks = new Set([...attached.keys(), ...vips.keys()]);
  if (ports.length > 0 || spec.canary !== undefined) networks.add(INGRESS_NETWORK_ID);
  return [...networks].map((networkId) => {
    const vip = vips.get(networkId);
    return {
      networkId,
      serviceId: service.id,
      name: service.name,
      aliases: attached.get(networkId) ?? [],
      ...(vip === undefined ? {} : { vip }),
      ports: networkId === INGRESS_NETWORK_ID ? ports : [],
      ...(spec.balance === undefined ? {} : { balance: spec.balance }),
      ...(spec.canary === undefined ? {} : { canary: spec.canary }),
      ...(stack === undefined ? {} : { stack }),
      ...(spec.mode.kind === 'container' ? { single: true as const } : {}),
      // Who comes by a published port was let in by publishing it.
      ...(named.length === 0 || networkId === INGRESS_NETWORK_ID ? {} : { named }),
      ...(typeof allowFrom === 'object' && networkId !== INGRESS_NETWORK_ID ? { allowFrom } : {}),
    };
  });
}

/** Each once, whatever it is published as. */
function namedPorts({ ports }: ServiceSpec): ServicePort[] {
  const found = ports.map(({ name, protocol, targetPort }): [string, ServicePort] => [
    `${name ?? ''} ${protocol} ${targetPort}`,
    { ...(name === undefined ? {} : { name }), protocol, targetPort },
  ]);
  return [...new Map(found).values()];
}

/** Ports that every node publishes, with the numbers that the manager chose. */
export function meshPorts(service: Service): readonly MeshPort[] {
  return (service.endpoint?.ports ?? [])
    .filter((port) => port.mode === 'ingress')
    .map(({ protocol, publishedPort, targetPort, hostIp }) => ({
      protocol,
      publishedPort,
      targetPort,
      ...(hostIp === undefined ? {} : { hostIp }),
    }));
}

function isLocalNetwork({ networks }: AssignmentView, id: string): boolean {
  const spec = networks.get(id)?.spec;
  return spec !== undefined && isLocal(spec);
}

/** Undefined until the node has said where it is. */
export function peerRow(node: Node): PeerAssignment | undefined {
  if (node.description === undefined) return undefined;
  const { hostname, address, tunnelKeys, ipv6 } = node.description;
  const keys = tunnelKeys === undefined ? {} : { tunnelKeys };
  return {
    nodeId: node.id,
    hostname,
    index: node.index,
    address,
    ...keys,
    ...(ipv6 === true ? { ipv6 } : {}),
  };
}
