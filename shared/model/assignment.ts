/**
 * What a node should hold, as a manager computes it for this node alone. Keyed sets; a full set or a diff of each
 * is sent. Every entry is self-contained: the agent needs nothing else to act.
 */
import type { AllowRule } from './allow.ts';
import type { GenericResource } from './generic-resource.ts';
import type { TunnelKeys } from './node.ts';
import type { OutsideNetwork } from './outside-network.ts';
import type { ServiceSpec } from './service.ts';
import type { DesiredState } from './task-state.ts';
import type { TaskAddress } from './task.ts';

/** A task of this node. Key: taskId. */
export interface TaskAssignment {
  readonly taskId: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly slot: number;
  readonly nodeId: string;
  readonly desired: DesiredState;
  readonly revision: number;
  readonly spec: ServiceSpec;
  readonly addresses: readonly TaskAddress[];
  readonly granted?: readonly GenericResource[];
  /** The node has started it once already (said in full sets only): if its container is lost it is not started again. */
  readonly started?: true;
  /** What it uses is to be measured and reported: the service scales by it. */
  readonly measured?: true;
}

/** A network that this node takes part in (a task of its own is on it, or it is ingress). Key: networkId. */
export interface NetworkAssignment {
  readonly networkId: string;
  readonly name: string;
  readonly vni: number;
  readonly subnet: string;
  readonly gateway: string;
  /** Others beside that one, each with its gateway. An address is of one of them. */
  readonly moreSubnets?: readonly { readonly subnet: string; readonly gateway: string }[];
  /** Of IPv6; absent: there is none. Addresses follow from the IPv4 ones (network-ipv6.ts). */
  readonly subnet6?: string;
  readonly internal: boolean;
  readonly ingress: boolean;
  /** It has no tunnel: each node's part of it is by itself. */
  readonly local?: true;
  /** Containers on it can not open connections to one another. */
  readonly isolated?: true;
  /** At most so large are its packets. Absent: as the nodes' own network and the tunnel allow. */
  readonly mtu?: number;
  /** Absent: all connections that services allow; else only these of them. */
  readonly allow?: readonly AllowRule[];
  /** It goes between nodes through WireGuard, and not at all where there is none. */
  readonly encrypted?: true;
  /** It is not Shoal's own: the gateway is somebody else's, and containers are put on this. */
  readonly outside?: OutsideNetwork;
}

/**
 * A place where traffic of a network may go: a task's address, on this node or another. Present from the time the task
 * has an address until it is gone for good; `serving` says whether VIP, names and published ports may lead to it (running,
 * not unhealthy, and wanted: it turns false before the task is told to stop). Key: `${networkId}/${taskId}`.
 */
export interface EndpointAssignment {
  readonly networkId: string;
  readonly taskId: string;
  readonly nodeId: string;
  readonly serviceId: string;
  readonly serviceName: string;
  readonly slot: number;
  readonly address: string;
  readonly aliases: readonly string[];
  readonly hostname?: string;
  readonly serving: boolean;
  /** Of a network without a tunnel: only its own node leads to it. */
  readonly local?: true;
}

export interface MeshPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly publishedPort: number;
  readonly targetPort: number;
  /** As in PublishedPort. */
  readonly hostIp?: string;
}

/** A port that a service publishes, in whatever mode, as names tell of it. */
export interface ServicePort {
  readonly name?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly targetPort: number;
}

/**
 * How new connections are spread: each to any backend, or all of one source address to the same one for as long as it serves.
 */
export type Balance = 'random' | 'source-hash';

/** Tasks of one service that take a share of what comes to another. */
export interface Canary {
  /** Name of the other service. */
  readonly of: string;
  /** Per cent of new connections, from 1 to 99. */
  readonly share: number;
}

/** A service as the networks see it. Key: `${networkId}/${serviceId}`. */
export interface ServiceAssignment {
  readonly networkId: string;
  readonly serviceId: string;
  readonly name: string;
  readonly aliases: readonly string[];
  /** Absent in endpoint mode dnsrr. */
  readonly vip?: string;
  /** Only on ingress: ports published on every node. */
  readonly ports: readonly MeshPort[];
  /** On networks with names. Absent: none. */
  readonly named?: readonly ServicePort[];
  /** Absent: random. */
  readonly balance?: Balance;
  readonly canary?: Canary;
  /** The one that it is part of: what is of a stack can be a canary within it only. */
  readonly stack?: string;
  /** A single container. In allow-lists a service of its name goes before it. */
  readonly single?: true;
  /** Who may open connections to its tasks on this network. Absent: everybody on it. */
  readonly allowFrom?: readonly AllowRule[];
}

/** Another node (or this one) as the tunnels see it. Key: nodeId. */
export interface PeerAssignment {
  readonly nodeId: string;
  readonly hostname: string;
  readonly index: number;
  /** Underlay address. */
  readonly address: string;
  /** Absent: no encrypted network reaches it. */
  readonly tunnelKeys?: TunnelKeys;
  /** Published ports may lead to its containers over IPv6. */
  readonly ipv6?: true;
}

/**
 * The contents of a secret or config that a task of this node uses which is not over. Key: fileId. An agent keeps it in
 * memory and on tmpfs, never on a disk.
 */
export interface FileAssignment {
  readonly fileId: string;
  readonly templating?: 'golang';
  /** base64. */
  readonly data: string;
}

export interface AssignmentSet {
  readonly tasks: ReadonlyMap<string, TaskAssignment>;
  readonly networks: ReadonlyMap<string, NetworkAssignment>;
  readonly endpoints: ReadonlyMap<string, EndpointAssignment>;
  readonly services: ReadonlyMap<string, ServiceAssignment>;
  readonly peers: ReadonlyMap<string, PeerAssignment>;
  readonly secrets: ReadonlyMap<string, FileAssignment>;
  readonly configs: ReadonlyMap<string, FileAssignment>;
}

export const ASSIGNMENT_TABLES = [
  'tasks',
  'networks',
  'endpoints',
  'services',
  'peers',
  'secrets',
  'configs',
] as const;
export type AssignmentTable = (typeof ASSIGNMENT_TABLES)[number];
