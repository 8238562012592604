/** Schemas of what a manager sends a node: the tables of an assignment set and their differences. */
import { z } from 'zod';
import type { AllowRule } from '../model/allow.ts';
import type {
  EndpointAssignment,
  FileAssignment,
  MeshPort,
  NetworkAssignment,
  PeerAssignment,
  ServiceAssignment,
  ServicePort,
  TaskAssignment,
} from '../model/assignment.ts';
import { MACVLAN_MODES, type OutsideNetwork } from '../model/outside-network.ts';
import type { AssignmentDrop, AssignmentLists, AssignmentPut } from './assignment-diff.ts';
import { conforms } from './conforms.ts';
import { tunnelKeys } from './node-schema.ts';
import {
  canary,
  count,
  flag,
  genericResources,
  labels,
  protocol,
  serviceSpecSchema,
  text,
} from './service-schema.ts';

const task = conforms<TaskAssignment>()(
  z.strictObject({
    taskId: text,
    serviceId: text,
    serviceName: text,
    slot: count,
    nodeId: text,
    desired: z.enum(['ready', 'running', 'complete', 'shutdown', 'remove']),
    revision: count,
    spec: serviceSpecSchema,
    addresses: z.array(z.strictObject({ network: text, address: text, device: count.exactOptional() })),
    granted: genericResources.exactOptional(),
    started: z.literal(true).exactOptional(),
    measured: z.literal(true).exactOptional(),
  }),
);

const allow = z.array(
  conforms<AllowRule>()(
    z.strictObject({
      from: z.array(text).exactOptional(),
      to: z.array(text).exactOptional(),
      protocol: z.enum(['tcp', 'udp', 'sctp', 'icmp']).exactOptional(),
      ports: z.tuple([count, count]).exactOptional(),
    }),
  ),
);

const outside = conforms<OutsideNetwork>()(
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('macvlan'), parent: text, mode: z.enum(MACVLAN_MODES) }),
    z.strictObject({ kind: z.literal('plugin'), plugin: text, options: labels }),
  ]),
);

export const networkSchema = conforms<NetworkAssignment>()(
  z.strictObject({
    networkId: text,
    name: text,
    vni: count,
    subnet: text,
    gateway: text,
    moreSubnets: z.array(z.strictObject({ subnet: text, gateway: text })).exactOptional(),
    subnet6: text.exactOptional(),
    internal: flag,
    ingress: flag,
    local: z.literal(true).exactOptional(),
    isolated: z.literal(true).exactOptional(),
    mtu: count.exactOptional(),
    allow: allow.exactOptional(),
    encrypted: z.literal(true).exactOptional(),
    outside: outside.exactOptional(),
  }),
);

const endpoint = conforms<EndpointAssignment>()(
  z.strictObject({
    networkId: text,
    taskId: text,
    nodeId: text,
    serviceId: text,
    serviceName: text,
    slot: count,
    address: text,
    aliases: z.array(text),
    hostname: text.exactOptional(),
    serving: flag,
    local: z.literal(true).exactOptional(),
  }),
);

const meshPort = conforms<MeshPort>()(
  z.strictObject({ protocol, publishedPort: count, targetPort: count, hostIp: text.exactOptional() }),
);

const servicePort = conforms<ServicePort>()(
  z.strictObject({ name: text.exactOptional(), protocol, targetPort: count }),
);

const service = conforms<ServiceAssignment>()(
  z.strictObject({
    networkId: text,
    serviceId: text,
    name: text,
    aliases: z.array(text),
    vip: text.exactOptional(),
    ports: z.array(meshPort),
    named: z.array(servicePort).exactOptional(),
    balance: z.enum(['random', 'source-hash']).exactOptional(),
    canary: canary.exactOptional(),
    stack: text.exactOptional(),
    single: z.literal(true).exactOptional(),
    allowFrom: allow.exactOptional(),
  }),
);

const peer = conforms<PeerAssignment>()(
  z.strictObject({
    nodeId: text,
    hostname: text,
    index: count,
    address: text,
    tunnelKeys: tunnelKeys.exactOptional(),
    ipv6: z.literal(true).exactOptional(),
  }),
);

const file = conforms<FileAssignment>()(
  z.strictObject({ fileId: text, templating: z.literal('golang').exactOptional(), data: text }),
);

const lists = {
  tasks: z.array(task),
  networks: z.array(networkSchema),
  endpoints: z.array(endpoint),
  services: z.array(service),
  peers: z.array(peer),
  secrets: z.array(file),
  configs: z.array(file),
};

export const assignmentListsSchema = conforms<AssignmentLists>()(z.strictObject(lists));

export const assignmentPutSchema = conforms<AssignmentPut>()(
  z.strictObject({
    tasks: lists.tasks.exactOptional(),
    networks: lists.networks.exactOptional(),
    endpoints: lists.endpoints.exactOptional(),
    services: lists.services.exactOptional(),
    peers: lists.peers.exactOptional(),
    secrets: lists.secrets.exactOptional(),
    configs: lists.configs.exactOptional(),
  }),
);

const keys = z.array(text).exactOptional();

export const assignmentDropSchema = conforms<AssignmentDrop>()(
  z.strictObject({
    tasks: keys,
    networks: keys,
    endpoints: keys,
    services: keys,
    peers: keys,
    secrets: keys,
    configs: keys,
  }),
);
