/** Schemas of what a node says: its description, its tasks' statuses, its containers, and what it is asked. */
import { z } from 'zod';
import type { ContainerInfo, LogsParams, NodeMethods, NodeStreams } from '../model/node-methods.ts';
import type { NodeDescription } from '../model/node.ts';
import type { ContainerStatus, TaskStatus } from '../model/task.ts';
import { TASK_STATES } from '../model/task-state.ts';
import { conforms } from './conforms.ts';
import { count, flag, labels, protocol, text } from './service-schema.ts';

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
  }),
);

const health = z.enum(['starting', 'healthy', 'unhealthy']);

const containerStatus = conforms<ContainerStatus>()(
  z.strictObject({
    containerId: text,
    pid: count.exactOptional(),
    exitCode: z.number().int().exactOptional(),
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
    hostPorts: z.array(z.strictObject({ protocol, targetPort: count, publishedPort: count })).exactOptional(),
  }),
);

const logsParams = conforms<LogsParams>()(
  z.strictObject({
    containerId: text,
    follow: flag,
    stdout: flag,
    stderr: flag,
    tail: count.exactOptional(),
    sinceMs: z.number().exactOptional(),
    untilMs: z.number().exactOptional(),
  }),
);

const containerInfo = conforms<ContainerInfo>()(
  z.strictObject({
    id: text,
    taskId: text,
    name: text,
    image: text,
    imageId: text,
    serviceId: text,
    serviceName: text,
    slot: count,
    labels,
    path: text,
    args: z.array(text),
    env: z.array(text),
    createdAtMs: z.number(),
    state: z.enum(['created', 'running', 'exited']),
    pid: count,
    exitCode: z.number().int().exactOptional(),
    error: text.exactOptional(),
    oomKilled: flag.exactOptional(),
    health: health.exactOptional(),
    startedAtMs: z.number().exactOptional(),
    finishedAtMs: z.number().exactOptional(),
    logPath: text,
    networks: z.array(z.strictObject({ network: text, address: text })),
  }),
);

/** Params and result of each method; a method without an entry does not compile. */
export const methodSchemas: {
  readonly [M in keyof NodeMethods]: {
    readonly params: z.ZodType<NodeMethods[M]['params']>;
    readonly result: z.ZodType<NodeMethods[M]['result']>;
  };
} = {
  'container.list': { params: z.strictObject({}), result: z.array(containerInfo) },
  'container.inspect': { params: z.strictObject({ containerId: text }), result: containerInfo },
};

/** Params of each stream. */
export const streamSchemas: { readonly [M in keyof NodeStreams]: z.ZodType<NodeStreams[M]> } = {
  'container.logs': logsParams,
};

export function isMethod(name: string): name is keyof NodeMethods {
  return Object.hasOwn(methodSchemas, name);
}

export function isStream(name: string): name is keyof NodeStreams {
  return Object.hasOwn(streamSchemas, name);
}
