import type { NodeConfinement } from './confinement.ts';
import type { NodeDevices } from './device-request.ts';
import type { GenericResource } from './generic-resource.ts';
import type { TakenPort } from './network-report.ts';
import type { NodeDrivers } from './outside-network.ts';
import type { Labels } from './service.ts';

export type NodeRole = 'manager' | 'worker';
export type Availability = 'active' | 'pause' | 'drain';

/** Where a node's encrypted tunnels end: each key at an address and a port of its own, by its slot. */
export interface TunnelKeys {
  /** The slot at which others are to send. */
  readonly active: 0 | 1;
  /** WireGuard's public keys, in base64. */
  readonly keys: readonly { readonly slot: 0 | 1; readonly publicKey: string }[];
}

/** What an agent says of its machine when it connects. */
export interface NodeDescription {
  readonly hostname: string;
  readonly os: string;
  /** Docker's name: x86_64, aarch64. */
  readonly arch: string;
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly engineVersion: string;
  readonly engineLabels: Labels;
  /** Address of this node on the network between the hosts (VXLAN's outer address). */
  readonly address: string;
  /** CIDRs that the machine reaches by routes of its own, its name servers among them: overlays keep clear of them. */
  readonly localSubnets: readonly string[];
  /** Each kind once. Absent: none. */
  readonly genericResources?: readonly GenericResource[];
  /** The file system of its containers can limit how much each of them writes. */
  readonly limitsDisks?: true;
  /** Whether its containers can have IPv6. Absent: its agent does not say so yet. */
  readonly ipv6?: boolean;
  /** Absent: its kernel has no WireGuard. */
  readonly tunnelKeys?: TunnelKeys;
  /** What it knows of a service's spec beyond what every version knows (shared/wire/spec-keys.ts). Absent: nothing. */
  readonly knows?: readonly string[];
}

/** What users set. */
export interface NodeSpec {
  readonly name?: string;
  readonly role: NodeRole;
  readonly availability: Availability;
  readonly labels: Labels;
}

/** What the node last proved itself with, and what it trusts. Digests are SHA-256, hexadecimal. */
export interface NodeCertificate {
  /** Of the public key (SubjectPublicKeyInfo): who has its private key is this node. */
  readonly keyDigest: string;
  /** Of the root that signed it. */
  readonly issuer: string;
  /** Of the roots that the node trusts, as far as it has confirmed. */
  readonly trust: readonly string[];
  readonly endsAtMs: number;
}

/** `unknown` right after a manager took over, until the node is heard or its time is up. */
export type NodeStatus = 'unknown' | 'down' | 'ready';

/** The record at /nodes/<id>. Heartbeats are not in it: they live in memory. */
export interface Node {
  readonly id: string;
  readonly spec: NodeSpec;
  readonly description?: NodeDescription;
  /** Absent until the node has joined, or come, under a version that notes it. */
  readonly certificate?: NodeCertificate;
  readonly status: NodeStatus;
  readonly statusMessage?: string;
  readonly statusAtMs: number;
  /** Its agent is being restarted: until then it is not called down for having no session. */
  readonly awaitedUntilMs?: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** `${managerId}.${id}` of the newest session, whichever manager has it: the verdicts of others do not count. */
  readonly session?: string;
  /** Small number, unique in the cluster: its tunnel MAC is 02:00 + this, its connection mark is this. From 1. */
  readonly index: number;
  /** As it said last. Absent: none. */
  readonly takenPorts?: readonly TakenPort[];
  /** Its own, as it said last. Absent: it has not said any. */
  readonly addresses?: readonly string[];
  /** As it said last. Absent: it can be on Shoal's own networks only. */
  readonly drivers?: NodeDrivers;
  /** As it said last. Absent: nothing is described there. */
  readonly devices?: NodeDevices;
  /** As it said last. Absent: no security module is on there. */
  readonly confinement?: NodeConfinement;
}
