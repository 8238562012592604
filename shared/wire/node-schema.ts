/** Schemas of what a node says of itself: its description and its tasks' statuses. */
import { z } from 'zod';
import type { NodeConfinement } from '../model/confinement.ts';
import type { NodeDevices } from '../model/device-request.ts';
import type { NetworkReport } from '../model/network-report.ts';
import type { NodeDescription, TunnelKeys } from '../model/node.ts';
import type { NodeDrivers } from '../model/outside-network.ts';
import type { ContainerStatus, TaskStatus } from '../model/task.ts';
import type { TaskUsage } from '../model/autoscale.ts';
import { TASK_STATES } from '../model/task-state.ts';
import { conforms } from './conforms.ts';
import { count, genericResources, labels, protocol, text } from './service-schema.ts';

export const health = z.enum(['starting', 'healthy', 'unhealthy']);

const slot = z.union([z.literal(0), z.literal(1)]);
/** 32 bytes in base64. */
const publicKey = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);

export const tunnelKeys = conforms<TunnelKeys>()(
  z.strictObject({
    active: slot,
    keys: z.array(z.strictObject({ slot, publicKey })).min(1).max(2),
  }),
);

export const nodeDescriptionSchema = conforms<NodeDescription>()(
  z.strictObject({
    hostname: text,
    os: text,
    arch: text,
    nanoCpus: count,
    memoryBytes: count,
    engineVersion: text,
    engineLabels: labels,
    address: text,
    localSubnets: z.array(text),
    genericResources: genericResources.exactOptional(),
    limitsDisks: z.literal(true).exactOptional(),
    tunnelKeys: tunnelKeys.exactOptional(),
    knows: z.array(text).exactOptional(),
    ipv6: z.boolean().exactOptional(),
  }),
);

const containerStatus = conforms<ContainerStatus>()(
  z.strictObject({
    containerId: text,
    pid: count.exactOptional(),
    exitCode: z.number().int().exactOptional(),
    oomKilled: z.literal(true).exactOptional(),
  }),
);

export const taskStatusSchema = conforms<TaskStatus>()(
  z.strictObject({
    taskId: text,
    state: z.enum(TASK_STATES),
    atMs: z.number(),
    startedAtMs: z.number().exactOptional(),
    message: text,
    error: text.exactOptional(),
    container: containerStatus.exactOptional(),
    health: health.exactOptional(),
    hostPorts: z
      .array(
        z.strictObject({
          protocol,
          targetPort: count,
          publishedPort: count,
          hostIp: z.string().exactOptional(),
        }),
      )
      .exactOptional(),
  }),
);

export const taskUsageSchema = conforms<TaskUsage>()(
  z.strictObject({ taskId: text, nanoCpus: count, memoryBytes: count }),
);

/** A node with more than so many is believed of these. */
export const MAX_TAKEN_PORTS = 256;

/** A node with more addresses says none. */
export const MAX_ADDRESSES = 256;

/** A node with more devices, or plugins, is believed of these. */
export const MAX_DRIVERS = 256;
const driverNames = z.array(z.string().min(1).max(64)).max(MAX_DRIVERS);

const nodeDrivers = conforms<NodeDrivers>()(
  z.strictObject({ macvlanParents: driverNames.exactOptional(), plugins: driverNames.exactOptional() }),
);

/** A node with more, or longer ones, is believed of none: the agent cuts them. */
export const MAX_DEVICES = 1024;
export const MAX_DEVICE_PROBLEMS = 32;
export const MAX_DEVICE_TEXT = 512;
const deviceText = z.string().min(1).max(MAX_DEVICE_TEXT);

const nodeDevices = conforms<NodeDevices>()(
  z.strictObject({
    names: z.array(deviceText).max(MAX_DEVICES),
    problems: z
      .array(z.strictObject({ of: deviceText, why: deviceText }))
      .max(MAX_DEVICE_PROBLEMS)
      .exactOptional(),
  }),
);

/** A node with more profiles is believed of none: the agent cuts them. */
export const MAX_PROFILES = 2048;
export const MAX_PROFILE_NAME = 255;

const nodeConfinement = conforms<NodeConfinement>()(
  z.strictObject({
    appArmorProfiles: z
      .array(
        z
          .string()
          .min(1)
          .max(MAX_PROFILE_NAME)
          .regex(/^\P{Cc}+$/u),
      )
      .max(MAX_PROFILES)
      .exactOptional(),
    selinux: z.literal(true).exactOptional(),
  }),
);

export const networkReportSchema = conforms<NetworkReport>()(
  z.strictObject({
    repairs: z.record(z.string().regex(/^[a-z]{1,20}$/), count),
    takenPorts: z
      .array(z.strictObject({ port: z.string().max(64), holder: z.enum(['theirs', 'ours']) }))
      .max(MAX_TAKEN_PORTS),
    addresses: z.array(z.string().max(45)).max(MAX_ADDRESSES).exactOptional(),
    drivers: nodeDrivers.exactOptional(),
    devices: nodeDevices.exactOptional(),
    confinement: nodeConfinement.exactOptional(),
  }),
);
