import { z } from 'zod';
import type {
  ContainerDetails,
  ContainerInfo,
  ContainerLimits,
  ContainerMethods,
  ContainerSample,
  ContainerStreams,
  LogsParams,
  MountPoint,
  NetworkCounters,
  ProbeResult,
} from '../../model/node-methods/index.ts';
import { PS_COLUMNS, type PsColumn } from '../../lib/ps-columns.ts';
import { conforms } from '../conforms.ts';
import { health } from '../node-schema.ts';
import { amounts, count, flag, labels, text } from '../service-schema.ts';
import { nothing, ofContainer } from './common.ts';
import type { MethodSchemas, StreamSchemas } from './schema-table.ts';

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

const mountPoint = conforms<MountPoint>()(
  z.strictObject({
    kind: z.enum(['bind', 'volume', 'tmpfs', 'image']),
    name: text.exactOptional(),
    source: text,
    target: text,
    readOnly: flag,
    propagation: text.exactOptional(),
  }),
);

const details = conforms<ContainerDetails>()(
  z.strictObject({
    hostname: text,
    domainname: text,
    user: text,
    workingDir: text,
    entrypoint: z.array(text),
    cmd: z.array(text),
    exposedPorts: z.array(text),
    volumes: z.array(text),
    stopSignal: text,
    mounts: z.array(mountPoint),
  }),
);

const probeResult = conforms<ProbeResult>()(
  z.strictObject({ startMs: z.number(), endMs: z.number(), exitCode: z.number().int(), output: text }),
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
    probes: z.strictObject({ failures: count, log: z.array(probeResult) }).exactOptional(),
    startedAtMs: z.number().exactOptional(),
    finishedAtMs: z.number().exactOptional(),
    logPath: text,
    tty: flag.exactOptional(),
    openStdin: flag.exactOptional(),
    stdinOnce: flag.exactOptional(),
    networks: z.array(z.strictObject({ network: text, address: text })),
    apparmorProfile: text.exactOptional(),
    processLabel: text.exactOptional(),
    mountLabel: text.exactOptional(),
    details: details.exactOptional(),
  }),
);

const containerLimits = conforms<ContainerLimits>()(
  z.strictObject({
    limits: amounts,
    reservations: amounts,
    options: z.strictObject({
      cpuShares: count.exactOptional(),
      cpuset: text.exactOptional(),
      cpusetMems: text.exactOptional(),
      memorySwapBytes: z.number().int().exactOptional(),
      cpuPeriodUs: count.exactOptional(),
    }),
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

const stallTime = z.strictObject({ avg10: amount, avg60: amount, avg300: amount, totalUs: amount });
const pressure = z.strictObject({ some: stallTime.exactOptional(), full: stallTime.exactOptional() });

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
    pressure: z
      .strictObject({
        cpu: pressure.exactOptional(),
        memory: pressure.exactOptional(),
        io: pressure.exactOptional(),
      })
      .exactOptional(),
  }),
);

export const containerMethods: MethodSchemas<keyof ContainerMethods> = {
  'container.list': { params: nothing, result: z.array(containerInfo) },
  'container.inspect': { params: ofContainer, result: containerInfo },
  'container.kill': { params: ofContainer.extend({ signal: text }), result: nothing },
  'container.stop': {
    params: ofContainer.extend({ signal: text.exactOptional(), graceMs: z.number().exactOptional() }),
    result: z.strictObject({ stopped: flag }),
  },
  'container.discard-volumes': { params: ofContainer, result: nothing },
  'container.until-removed': { params: ofContainer, result: nothing },
  'container.size': {
    params: ofContainer,
    result: z.strictObject({ ownBytes: count, totalBytes: count }),
  },
  'container.update': {
    params: z.strictObject({ containerId: text, limits: containerLimits }),
    result: nothing,
  },
  'container.pause': { params: ofContainer, result: nothing },
  'container.unpause': { params: ofContainer, result: nothing },
  'container.wait': {
    params: ofContainer,
    result: z.strictObject({ exitCode: z.number().int(), error: text.exactOptional() }),
  },
  'container.top': {
    params: ofContainer.extend({
      format: z.enum(['ef', 'aux']),
      columns: z.array(z.enum(Object.keys(PS_COLUMNS) as PsColumn[])).exactOptional(),
    }),
    result: z.strictObject({ titles: z.array(text), processes: z.array(z.array(text)) }),
  },
  'container.sample': { params: ofContainer, result: z.strictObject({ sample: sample.exactOptional() }) },
};

export const containerStreams: StreamSchemas<keyof ContainerStreams> = {
  'container.logs': logsParams,
};
