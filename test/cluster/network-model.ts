/** A small world of networks, services and tasks, and each node's assignments in it. */
import type {
  AllowRule,
  AssignmentSet,
  Balance,
  Canary,
  EndpointAssignment,
  MeshPort,
  NetworkAssignment,
  PeerAssignment,
  PublishedPort,
  ServiceAssignment,
  ServicePort,
  ServiceSpec,
  TaskAssignment,
} from '../../shared/model/index.ts';
import { DEFAULT_RESTART, DEFAULT_UPDATE } from '../../shared/model/service.ts';

export interface WorldTask {
  readonly taskId: string;
  readonly service: string;
  readonly node: string;
  readonly slot: number;
  readonly addresses: Readonly<Record<string, string>>;
  readonly hostname?: string;
  serving: boolean;
  desired: TaskAssignment['desired'];
}

export interface WorldService {
  readonly name: string;
  readonly aliases: readonly string[];
  /** By network; a network without an entry is in endpoint mode dnsrr. */
  readonly vips: Readonly<Record<string, string>>;
  readonly networks: readonly string[];
  readonly meshPorts: readonly MeshPort[];
  readonly hostPorts: readonly PublishedPort[];
  balance?: Balance;
  canary?: Canary;
  allowFrom?: readonly AllowRule[];
  /** Its containers' own. */
  nameservers?: readonly string[];
  readonly named?: readonly ServicePort[];
}

export interface World {
  readonly peers: PeerAssignment[];
  networks: NetworkAssignment[];
  readonly services: WorldService[];
  readonly tasks: WorldTask[];
}

export function network(
  networkId: string,
  vni: number,
  base: string,
  more: Partial<NetworkAssignment> = {},
): NetworkAssignment {
  return {
    networkId,
    name: networkId,
    vni,
    subnet: `${base}.0/24`,
    gateway: `${base}.1`,
    internal: false,
    ingress: false,
    ...more,
  };
}

/** Some are limited, and none is slow. */
function limitsOf({ name }: WorldService): Record<string, string> {
  if (!/(?:^s|web|[02468])$/.test(name)) return {};
  return { 'shoal.bandwidth-in': '10gbit', 'shoal.bandwidth-out': '10gbit' };
}

function specOf(service: WorldService): ServiceSpec {
  return {
    name: service.name,
    labels: {},
    mode: { kind: 'replicated', replicas: 1 },
    container: {
      ...{ image: 'none', labels: limitsOf(service), command: [], args: [], env: [], mounts: [] },
      ...(service.nameservers && { dns: { nameservers: service.nameservers, search: [], options: [] } }),
    },
    limits: {},
    reservations: {},
    restart: DEFAULT_RESTART,
    placement: { constraints: [], spread: [], maxReplicasPerNode: 0 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    networks: service.networks.map((id) => ({ network: id, aliases: [] })),
    endpointMode: 'vip',
    ports: [
      ...service.hostPorts,
      ...service.meshPorts.map((port) => ({ ...port, mode: 'ingress' as const })),
    ],
    forceUpdate: 0,
  };
}

function byKey<T>(list: readonly T[], key: (entry: T) => string): Map<string, T> {
  return new Map(list.map((entry) => [key(entry), entry]));
}

/** What the manager would send to this node. */
export function assignmentsOf(world: World, nodeId: string): AssignmentSet {
  const services = byKey(world.services, (service) => service.name);
  const tasks = world.tasks
    .filter((task) => task.node === nodeId)
    .map((task): TaskAssignment => {
      const service = services.get(task.service);
      if (service === undefined) throw new Error(`no service ${task.service}`);
      return {
        taskId: task.taskId,
        serviceId: `id-${task.service}`,
        serviceName: task.service,
        slot: task.slot,
        nodeId,
        desired: task.desired,
        revision: 1,
        spec: specOf(service),
        addresses: Object.entries(task.addresses).map(([id, address]) => ({ network: id, address })),
      };
    });
  const endpoints = world.tasks.flatMap((task) =>
    Object.entries(task.addresses).map(
      ([networkId, address]): EndpointAssignment => ({
        networkId,
        taskId: task.taskId,
        nodeId: task.node,
        serviceId: `id-${task.service}`,
        serviceName: task.service,
        slot: task.slot,
        address,
        aliases: [],
        serving: task.serving,
        ...(task.hostname === undefined ? {} : { hostname: task.hostname }),
        ...(world.networks.some((one) => one.networkId === networkId && one.local === true)
          ? { local: true as const }
          : {}),
      }),
    ),
  );
  const serviceAssignments = world.services.flatMap((service) =>
    service.networks.map((networkId): ServiceAssignment => {
      const vip = service.vips[networkId];
      const ingress = world.networks.some((one) => one.networkId === networkId && one.ingress);
      return {
        networkId,
        serviceId: `id-${service.name}`,
        name: service.name,
        aliases: service.aliases,
        ports: ingress ? service.meshPorts : [],
        ...(vip === undefined ? {} : { vip }),
        ...(service.balance === undefined ? {} : { balance: service.balance }),
        ...(service.canary === undefined ? {} : { canary: service.canary }),
        ...(service.named === undefined || ingress ? {} : { named: service.named }),
        ...(service.allowFrom === undefined || ingress ? {} : { allowFrom: service.allowFrom }),
      };
    }),
  );
  return {
    tasks: byKey(tasks, (task) => task.taskId),
    networks: byKey(world.networks, (one) => one.networkId),
    endpoints: byKey(endpoints, (endpoint) => `${endpoint.networkId}/${endpoint.taskId}`),
    services: byKey(serviceAssignments, (service) => `${service.networkId}/${service.serviceId}`),
    peers: byKey(world.peers, (peer) => peer.nodeId),
    secrets: new Map(),
    configs: new Map(),
  };
}
