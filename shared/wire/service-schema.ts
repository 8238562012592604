/** Schemas of a service's spec, as it crosses the wire within a task's assignment. Unknown keys are refused. */
import { z } from 'zod';
import type { MountSpec } from '../model/mount.ts';
import type { NetworkAttachment } from '../model/network.ts';
import type { Canary } from '../model/assignment.ts';
import type { SelinuxLabel } from '../model/confinement.ts';
import type { Autoscale } from '../model/autoscale.ts';
import type { DeviceRequest } from '../model/device-request.ts';
import type { GenericRequest, GenericResource } from '../model/generic-resource.ts';
import type { LifecycleHook } from '../model/lifecycle-hook.ts';
import type { FileReference } from '../model/secret.ts';
import type {
  ContainerSpec,
  HealthCheck,
  Labels,
  Placement,
  PublishedPort,
  Reservations,
  ResourceAmounts,
  RestartPolicy,
  ServiceDependency,
  ServiceMode,
  ServiceSpec,
  UpdateConfig,
} from '../model/service.ts';
import type { BlockIo, RuntimeOptions } from '../model/runtime-options.ts';
import { conforms } from './conforms.ts';

export const text = z.string();
export const count = z.number().int().min(0);
export const flag = z.boolean();
export const labels = conforms<Labels>()(z.record(z.string(), z.string()));
export const protocol = z.enum(['tcp', 'udp', 'sctp']);
const optionalText = text.exactOptional();
const optionalFlag = flag.exactOptional();
const optionalCount = count.exactOptional();
export const texts = z.array(text);
const optionalTexts = texts.exactOptional();

const containerMode = z.strictObject({
  kind: z.literal('container'),
  containerId: text,
  autoRemove: flag,
  nodes: optionalTexts,
});

const mode = conforms<ServiceMode>()(
  z.discriminatedUnion('kind', [
    containerMode,
    z.strictObject({ kind: z.literal('replicated'), replicas: count }),
    z.strictObject({ kind: z.literal('global') }),
    z.strictObject({ kind: z.literal('replicated-job'), totalCompletions: count, maxConcurrent: count }),
    z.strictObject({ kind: z.literal('global-job') }),
    z.strictObject({
      kind: z.literal('cron'),
      schedule: text,
      timeZone: text,
      concurrency: z.enum(['allow', 'forbid', 'replace']),
      catchUpMs: count,
      history: count,
    }),
  ]),
);

export const healthCheck = conforms<HealthCheck>()(
  z.strictObject({
    test: texts,
    intervalNs: count,
    timeoutNs: count,
    startPeriodNs: count,
    startIntervalNs: count,
    retries: count,
  }),
);

const placed = { target: text, readOnly: flag };

const mount = conforms<MountSpec>()(
  z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('bind'),
      source: text,
      ...placed,
      propagation: z.enum(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']).exactOptional(),
      createSource: optionalFlag,
      recursive: z.literal(false).exactOptional(),
      readOnlyBelow: z.literal(false).exactOptional(),
    }),
    z.strictObject({ kind: z.literal('image'), source: text, ...placed, subpath: optionalText }),
    z.strictObject({
      kind: z.literal('volume'),
      source: text,
      ...placed,
      driver: optionalText,
      options: labels.exactOptional(),
      labels: labels.exactOptional(),
      noCopy: optionalFlag,
      subpath: optionalText,
    }),
    z.strictObject({
      kind: z.literal('tmpfs'),
      ...placed,
      sizeBytes: optionalCount,
      mode: optionalCount,
      uid: optionalCount,
      gid: optionalCount,
      exec: optionalFlag,
      suid: optionalFlag,
      dev: optionalFlag,
    }),
  ]),
);

const dns = z.strictObject({ nameservers: texts, search: texts, options: texts });
const ulimit = z.strictObject({ name: text, soft: z.number().int(), hard: z.number().int() });

const fileReference = conforms<FileReference>()(
  z.strictObject({
    id: text,
    name: text,
    target: z.strictObject({ name: text, uid: text, gid: text, mode: count }),
  }),
);

const amountsOfDevices = z.array(z.strictObject({ path: text, amount: count })).exactOptional();

const blockIo = conforms<BlockIo>()(
  z.strictObject({
    weight: optionalCount,
    weights: amountsOfDevices,
    readBps: amountsOfDevices,
    writeBps: amountsOfDevices,
    readIops: amountsOfDevices,
    writeIops: amountsOfDevices,
  }),
);

const deviceRequest = conforms<DeviceRequest>()(
  z.strictObject({ kinds: texts, names: optionalTexts, count: z.number().int().exactOptional() }),
);

const lifecycleHooks = z
  .array(
    conforms<LifecycleHook>()(
      z.strictObject({
        command: texts,
        user: optionalText,
        workingDir: optionalText,
        env: optionalTexts,
        privileged: z.literal(true).exactOptional(),
      }),
    ),
  )
  .exactOptional();

const selinuxLabel = conforms<SelinuxLabel>()(
  z.strictObject({ user: optionalText, role: optionalText, type: optionalText, level: optionalText }),
);

const runtime = conforms<RuntimeOptions>()(
  z.strictObject({
    privileged: optionalFlag,
    appArmorProfile: optionalText,
    maskedPaths: optionalTexts,
    readOnlyPaths: optionalTexts,
    annotations: labels.exactOptional(),
    devices: z.array(z.strictObject({ source: text, target: text, access: text })).exactOptional(),
    deviceRequests: z.array(deviceRequest).exactOptional(),
    deviceRules: optionalTexts,
    shmBytes: optionalCount,
    diskBytes: optionalCount,
    hostPid: optionalFlag,
    hostIpc: optionalFlag,
    hostUts: optionalFlag,
    hostCgroup: optionalFlag,
    userNamespace: z.enum(['private', 'host']).exactOptional(),
    network: z.enum(['host', 'none']).exactOptional(),
    networkOf: optionalText,
    pidOf: optionalText,
    ipcOf: optionalText,
    ipcShareable: optionalFlag,
    macAddress: optionalText,
    domainname: optionalText,
    cpuShares: optionalCount,
    cpuPeriodUs: optionalCount,
    cpuset: optionalText,
    cpusetMems: optionalText,
    blockIo: blockIo.exactOptional(),
    memorySwapBytes: z.number().int().exactOptional(),
    memorySwappiness: z.number().int().exactOptional(),
    oomKillDisable: optionalFlag,
    postStart: lifecycleHooks,
    preStop: lifecycleHooks,
    pullPolicy: z.enum(['missing', 'never']).exactOptional(),
  }),
);

const container = conforms<ContainerSpec>()(
  z.strictObject({
    image: text,
    labels,
    command: texts,
    args: texts,
    env: texts,
    workingDir: optionalText,
    user: optionalText,
    groups: optionalTexts,
    hostname: optionalText,
    readOnlyRoot: optionalFlag,
    init: optionalFlag,
    tty: optionalFlag,
    openStdin: optionalFlag,
    stdinOnce: optionalFlag,
    consoleSize: z.strictObject({ rows: count, columns: count }).exactOptional(),
    stopSignal: optionalText,
    stopGraceNs: optionalCount,
    mounts: z.array(mount),
    extraHosts: optionalTexts,
    dns: dns.exactOptional(),
    healthCheck: healthCheck.exactOptional(),
    capAdd: optionalTexts,
    capDrop: optionalTexts,
    sysctls: labels.exactOptional(),
    ulimits: z.array(ulimit).exactOptional(),
    secrets: z.array(fileReference).exactOptional(),
    configs: z.array(fileReference).exactOptional(),
    noNewPrivileges: optionalFlag,
    seccompUnconfined: optionalFlag,
    seccompProfile: optionalText,
    selinux: selinuxLabel.exactOptional(),
    oomScoreAdj: z.number().int().exactOptional(),
    runtime: runtime.exactOptional(),
  }),
);

export const amounts = conforms<ResourceAmounts>()(
  z.strictObject({
    nanoCpus: optionalCount,
    memoryBytes: optionalCount,
    pids: z.number().int().exactOptional(),
  }),
);

const genericRequest = conforms<GenericRequest>()(z.strictObject({ kind: text, count }));

const reservations = conforms<Reservations>()(
  z.strictObject({
    nanoCpus: optionalCount,
    memoryBytes: optionalCount,
    pids: z.number().int().exactOptional(),
    genericResources: z.array(genericRequest).exactOptional(),
  }),
);

export const genericResources = z.array(
  conforms<GenericResource>()(
    z.union([z.strictObject({ kind: text, count }), z.strictObject({ kind: text, names: texts })]),
  ),
);

const restart = conforms<RestartPolicy>()(
  z.strictObject({
    condition: z.enum(['any', 'on-failure', 'none']),
    delayNs: count,
    maxAttempts: count,
    windowNs: count,
  }),
);

const placement = conforms<Placement>()(
  z.strictObject({
    constraints: texts,
    spread: texts,
    maxReplicasPerNode: count,
    platforms: z.array(z.strictObject({ os: text, arch: text })).exactOptional(),
    strategy: z.enum(['spread', 'binpack']).exactOptional(),
    affinities: z
      .array(z.strictObject({ service: text, kind: z.enum(['with', 'apart']), hard: flag }))
      .exactOptional(),
  }),
);

const update = conforms<UpdateConfig>()(
  z.strictObject({
    parallelism: count,
    delayNs: count,
    order: z.enum(['stop-first', 'start-first']),
    monitorNs: count,
    failureAction: z.enum(['pause', 'continue', 'rollback']),
    maxFailureRatio: z.number(),
  }),
);

const publishedPort = conforms<PublishedPort>()(
  z.strictObject({
    name: optionalText,
    protocol,
    targetPort: count,
    publishedPort: count,
    among: z.tuple([count, count]).exactOptional(),
    mode: z.enum(['ingress', 'host']),
    hostIp: optionalText,
  }),
);

export const canary = conforms<Canary>()(z.strictObject({ of: text, share: count }));

const attachment = conforms<NetworkAttachment>()(
  z.strictObject({
    network: text,
    aliases: texts,
    address: optionalText,
    wayOutPriority: z.number().int().exactOptional(),
    macAddress: optionalText,
    links: z.array(z.strictObject({ name: text, alias: text })).exactOptional(),
  }),
);

const dependency = conforms<ServiceDependency>()(
  z.strictObject({
    service: text,
    condition: z.enum(['started', 'healthy', 'completed']),
    required: flag,
  }),
);

const autoscale = conforms<Autoscale>()(
  z.strictObject({
    min: count,
    max: count,
    cpuPercent: optionalCount,
    memoryPercent: optionalCount,
    coolDownMs: count,
  }),
);

export const serviceSpecSchema = conforms<ServiceSpec>()(
  z.strictObject({
    name: text,
    labels,
    mode,
    container,
    limits: amounts,
    reservations,
    restart,
    placement,
    update,
    rollback: update,
    updateDeadlineMs: optionalCount,
    drain: z.enum(['start-first', 'stop-first', 'at-once']).exactOptional(),
    rebalanceEveryMs: optionalCount,
    balance: z.enum(['random', 'source-hash']).exactOptional(),
    canary: canary.exactOptional(),
    serveUnready: z.literal(true).exactOptional(),
    withdrawWaitMs: optionalCount,
    networks: z.array(attachment),
    endpointMode: z.enum(['vip', 'dnsrr']),
    ports: z.array(publishedPort),
    forceUpdate: count,
    registryAuth: optionalText,
    logDriver: z.strictObject({ name: text, options: labels }).exactOptional(),
    dependsOn: z.array(dependency).exactOptional(),
    priority: z.number().int().exactOptional(),
    autoscale: autoscale.exactOptional(),
  }),
);
