/** Schemas of what a node says: its description, its tasks' statuses, its containers, and what it is asked. */
import { z } from 'zod';
import type {
  ContainerInfo,
  ContainerSample,
  ExecInfo,
  ExecSpec,
  LogsParams,
  NetworkCounters,
  NodeMethods,
  NodeStreams,
} from '../model/node-methods.ts';
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
    state: z.enum(['created', 'running', 'paused', 'exited']),
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

const execSpec = conforms<ExecSpec>()(
  z.strictObject({
    execId: text,
    containerId: text,
    args: z.array(text),
    env: z.array(text),
    user: text,
    workingDir: text,
    tty: flag,
    attachStdin: flag,
    attachStdout: flag,
    attachStderr: flag,
  }),
);

const execInfo = conforms<ExecInfo>()(
  z.strictObject({
    spec: execSpec,
    state: z.enum(['created', 'running', 'exited']),
    pid: count,
    exitCode: z.number().int().exactOptional(),
  }),
);

const networkCounters = conforms<NetworkCounters>()(
  z.strictObject({
    rxBytes: count,
    rxPackets: count,
    rxErrors: count,
    rxDropped: count,
    txBytes: count,
    txPackets: count,
    txErrors: count,
    txDropped: count,
  }),
);

/** Beyond 2^53, which the kernel's "no limit" is, numbers are not whole any more. */
const amount = z.number().min(0);

const sample = conforms<ContainerSample>()(
  z.strictObject({
    atMs: z.number(),
    cpu: z.strictObject({
      totalNs: amount,
      userNs: amount,
      kernelNs: amount,
      systemNs: amount,
      onlineCpus: count,
      periods: count,
      throttledPeriods: count,
      throttledNs: amount,
    }),
    memory: z.strictObject({
      usageBytes: amount,
      maxUsageBytes: amount.exactOptional(),
      limitBytes: amount,
      stats: z.record(text, amount),
    }),
    pids: z.strictObject({ current: count, limit: count.exactOptional() }),
    blockIo: z.array(
      z.strictObject({ major: count, minor: count, op: z.enum(['read', 'write']), bytes: amount }),
    ),
    networks: z.record(text, networkCounters),
  }),
);

const nothing = z.strictObject({});
const ofContainer = z.strictObject({ containerId: text });
const ofExec = z.strictObject({ execId: text });
const dimension = z.number().int().min(0).max(65_535);
const size = z.strictObject({ rows: dimension, columns: dimension });
const execStart = ofExec.extend({ size: size.exactOptional() });

/** Params and result of each method; a method without an entry does not compile. */
export const methodSchemas: {
  readonly [M in keyof NodeMethods]: {
    readonly params: z.ZodType<NodeMethods[M]['params']>;
    readonly result: z.ZodType<NodeMethods[M]['result']>;
  };
} = {
  'container.list': { params: z.strictObject({}), result: z.array(containerInfo) },
  'container.inspect': { params: z.strictObject({ containerId: text }), result: containerInfo },
  'container.kill': { params: ofContainer.extend({ signal: text }), result: nothing },
  'container.stop': {
    params: ofContainer.extend({ signal: text.exactOptional(), graceMs: z.number().exactOptional() }),
    result: z.strictObject({ stopped: flag }),
  },
  'container.pause': { params: ofContainer, result: nothing },
  'container.unpause': { params: ofContainer, result: nothing },
  'container.wait': {
    params: ofContainer,
    result: z.strictObject({ exitCode: z.number().int(), error: text.exactOptional() }),
  },
  'container.top': {
    params: ofContainer.extend({ format: z.enum(['ef', 'aux']) }),
    result: z.strictObject({ titles: z.array(text), processes: z.array(z.array(text)) }),
  },
  'container.sample': { params: ofContainer, result: z.strictObject({ sample: sample.exactOptional() }) },
  'exec.create': { params: execSpec, result: nothing },
  'exec.inspect': { params: ofExec, result: execInfo },
  'exec.resize': { params: ofExec.extend({ rows: dimension, columns: dimension }), result: nothing },
  'exec.start': { params: execStart, result: nothing },
};

/** Params of each stream. */
export const streamSchemas: { readonly [M in keyof NodeStreams]: z.ZodType<NodeStreams[M]> } = {
  'container.logs': logsParams,
  'exec.attach': execStart,
};

export function isMethod(name: string): name is keyof NodeMethods {
  return Object.hasOwn(methodSchemas, name);
}

export function isStream(name: string): name is keyof NodeStreams {
  return Object.hasOwn(streamSchemas, name);
}
