/** ServiceSpec of the Docker Engine API <-> ours. decode(encode(spec)) is the same spec. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { assertNever } from '../../../shared/lib/assert-never.ts';
import { readLogDriver } from '../../../shared/lib/log-driver.ts';
import { readHostAddress } from '../../../shared/lib/host-address.ts';
import {
  type Autoscale,
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  nodeNetworkId,
  isJob,
  nodeNetworkOf,
  type Placement,
  type PublishedPort,
  type RestartPolicy,
  type ServiceMode,
  type ServiceSpec,
  type UpdateConfig,
} from '../../../shared/model/index.ts';
import { requireAllowFrom } from '../ops/allow-lists.ts';
import { parseStrict } from '../http/unsupported.ts';
import { decodeAttachment, encodeAttachment, zAttachments } from './attachment-codec.ts';
import { defined, given, labelsOf, zLabels, zText, zTexts, zWhole } from './common.ts';
import { decodeAmounts, decodeReservations, encodeResources, zResources } from './resources-codec.ts';
import { decodeContainerSpec, encodeContainerSpec, zContainerSpec } from './container-spec-codec.ts';
import { withCronField, zCronMode } from './cron-codec.ts';
import {
  decodeAutoscale,
  decodeDeadline,
  decodeMoveLabels,
  decodeTrafficLabels,
  decodePlacementLabels,
  decodePriority,
  withSchedule,
} from './service-labels-codec.ts';

const zRestart = z
  .object({
    Condition: z.enum(['', 'any', 'on-failure', 'none']).nullish(),
    Delay: zWhole,
    MaxAttempts: zWhole,
    Window: zWhole,
  })
  .nullish();

const zPlacement = z
  .object({
    Constraints: zTexts,
    Preferences: z.array(z.object({ Spread: z.object({ SpreadDescriptor: z.string() }) })).nullish(),
    MaxReplicas: zWhole,
    Platforms: z.array(z.object({ OS: zText, Architecture: zText })).nullish(),
  })
  .nullish();

const zUpdate = z
  .object({
    Parallelism: zWhole,
    Delay: zWhole,
    FailureAction: z.enum(['', 'pause', 'continue', 'rollback']).nullish(),
    Monitor: zWhole,
    MaxFailureRatio: z.number().nullish(),
    Order: z.enum(['', 'stop-first', 'start-first']).nullish(),
  })
  .nullish();

const zPort = z.object({
  Name: zText,
  Protocol: z.enum(['', 'tcp', 'udp', 'sctp']).nullish(),
  TargetPort: zWhole,
  PublishedPort: zWhole,
  PublishMode: z.enum(['', 'ingress', 'host']).nullish(),
  // Shoal's own: Docker's API of services has none.
  HostIp: zText,
});

const A_TASK_A_NODE = 'a global service has one task on every node: there is no number of them';

/** A field of another mode. */
function contradiction(error: string) {
  return z.never({ error }).nullish();
}

export const zServiceSpec = z.object({
  // Parameters of the update: dockerode sends them in the body as well as in the query, where they count.
  version: z.unknown().optional(),
  registryAuthFrom: z.unknown().optional(),
  rollback: z.unknown().optional(),
  Name: zText,
  Labels: zLabels,
  TaskTemplate: z.object({
    ContainerSpec: zContainerSpec.nullish(),
    Resources: zResources,
    RestartPolicy: zRestart,
    Placement: zPlacement,
    Networks: zAttachments,
    ForceUpdate: zWhole,
    Runtime: z.enum(['', 'container'], { error: "the runtime is 'container'" }).nullish(),
    LogDriver: z.object({ Name: zText, Options: zLabels }).nullish(),
  }),
  Mode: z
    .object({
      Replicated: z.object({ Replicas: zWhole }).nullish(),
      Global: z.object({ Replicas: contradiction(A_TASK_A_NODE) }).nullish(),
      ReplicatedJob: z.object({ MaxConcurrent: zWhole, TotalCompletions: zWhole }).nullish(),
      GlobalJob: z
        .object({
          TotalCompletions: contradiction(A_TASK_A_NODE),
          MaxConcurrent: contradiction(A_TASK_A_NODE),
        })
        .nullish(),
      Cron: zCronMode,
    })
    .nullish(),
  UpdateConfig: zUpdate,
  RollbackConfig: zUpdate,
  Networks: zAttachments,
  EndpointSpec: z
    .object({ Mode: z.enum(['', 'vip', 'dnsrr']).nullish(), Ports: z.array(zPort).nullish() })
    .nullish(),
});

type RawSpec = z.output<typeof zServiceSpec>;

export interface DecodedSpec {
  /** Networks still as the request named them: ids or names. */
  readonly spec: ServiceSpec;
  /** What is accepted and has no effect, by name. */
  readonly warnings: readonly string[];
}

/** Throws InvalidError (shape) and UnsupportedError (fields that Shoal does not have), both naming the field. */
export function decodeServiceSpec(value: unknown): DecodedSpec {
  const raw = parseStrict(zServiceSpec, value, 'service spec');
  const template = raw.TaskTemplate;
  if (template.ContainerSpec === null || template.ContainerSpec === undefined) {
    throw new InvalidError('invalid service spec: TaskTemplate.ContainerSpec is missing');
  }
  const labels = withCronField(labelsOf(raw.Labels), raw.Mode?.Cron);
  const mode = withSchedule(decodeMode(raw.Mode), labels);
  if (isJob(mode)) refuseUpdateConfig(raw);
  const limits = decodeAmounts(template.Resources?.Limits);
  const reservations = decodeReservations(template.Resources?.Reservations);
  const autoscale = decodeAutoscale(labels, { mode, limits, reservations });
  const networks = given(template.Networks) ?? raw.Networks ?? [];
  const logDriver = given(template.LogDriver?.Name);
  const spec = defined({
    name: raw.Name ?? '',
    labels,
    mode: withLeast(mode, raw.Mode, autoscale),
    container: decodeContainerSpec(template.ContainerSpec),
    limits,
    reservations,
    restart: decodeRestart(template.RestartPolicy),
    placement: { ...decodePlacement(template.Placement), ...decodePlacementLabels(labels) },
    update: decodeUpdate(raw.UpdateConfig),
    rollback: decodeUpdate(raw.RollbackConfig),
    networks: networks.map(decodeAttachment),
    endpointMode: raw.EndpointSpec?.Mode === 'dnsrr' ? ('dnsrr' as const) : ('vip' as const),
    ports: (raw.EndpointSpec?.Ports ?? []).map(decodePort),
    forceUpdate: template.ForceUpdate ?? 0,
    updateDeadlineMs: decodeDeadline(labels),
    priority: decodePriority(labels),
    autoscale,
    logDriver:
      logDriver === undefined
        ? undefined
        : { name: logDriver, options: labelsOf(template.LogDriver?.Options) },
  }) as ServiceSpec;
  requireAllowFrom(labels);
  return {
    spec: { ...spec, ...decodeMoveLabels(spec), ...decodeTrafficLabels(spec) },
    warnings: specWarnings(spec),
  };
}

/** Fields that are stored and shown again without an effect. */
function specWarnings({ logDriver, networks }: ServiceSpec): string[] {
  const warnings: string[] = [];
  const warn = (field: string, why: string): void => void warnings.push(`TaskTemplate.${field}: ${why}`);
  for (const text of readLogDriver(logDriver).warnings) warn('LogDriver', text);
  for (const { network, aliases } of networks) {
    if (nodeNetworkOf(network) !== undefined && aliases.length > 0)
      warn('Networks', `aliases have no effect on network ${network}: it has no names`);
  }
  return warnings;
}

/** Exactly one is expected; none is one replica. Defaults of jobs as the API documents them. */
function decodeMode(raw: RawSpec['Mode']): ServiceMode {
  const named = (['Replicated', 'Global', 'ReplicatedJob', 'GlobalJob', 'Cron'] as const).filter(
    (key) => raw?.[key] !== null && raw?.[key] !== undefined,
  );
  if (named.length > 1)
    throw new InvalidError('invalid service spec: Mode: must specify only one service mode');
  switch (named[0]) {
    case 'Global':
      return { kind: 'global' };
    case 'GlobalJob':
      return { kind: 'global-job' };
    case 'ReplicatedJob': {
      const maxConcurrent = raw?.ReplicatedJob?.MaxConcurrent ?? 1;
      const totalCompletions = raw?.ReplicatedJob?.TotalCompletions ?? maxConcurrent;
      return { kind: 'replicated-job', maxConcurrent, totalCompletions };
    }
    case 'Cron':
      // Its labels, which it was turned into, make more of it.
      return { kind: 'replicated-job', maxConcurrent: 1, totalCompletions: 1 };
    default:
      return { kind: 'replicated', replicas: raw?.Replicated?.Replicas ?? 1 };
  }
}

/** Without a number of its own, a service that is scaled by use starts with the least. */
function withLeast(mode: ServiceMode, raw: RawSpec['Mode'], autoscale: Autoscale | undefined): ServiceMode {
  if (autoscale === undefined || (raw?.Replicated?.Replicas ?? undefined) !== undefined) return mode;
  return { kind: 'replicated', replicas: autoscale.min };
}

/** An update of a job is a new execution: there is nothing to roll (swarmkit, manager/controlapi/service.go). */
function refuseUpdateConfig(raw: RawSpec): void {
  for (const key of ['UpdateConfig', 'RollbackConfig'] as const) {
    if (raw[key] !== null && raw[key] !== undefined)
      throw new InvalidError(
        `rpc error: code = InvalidArgument desc = ${key}: update config cannot be used with jobs`,
      );
  }
}

function decodeRestart(raw: z.output<typeof zRestart>): RestartPolicy {
  if (raw === null || raw === undefined) return DEFAULT_RESTART;
  return {
    condition: given(raw.Condition) === undefined ? 'any' : (raw.Condition as RestartPolicy['condition']),
    delayNs: raw.Delay ?? DEFAULT_RESTART.delayNs,
    maxAttempts: raw.MaxAttempts ?? 0,
    windowNs: raw.Window ?? 0,
  };
}

function decodePlacement(raw: z.output<typeof zPlacement>): Placement {
  return defined({
    constraints: raw?.Constraints ?? [],
    spread: (raw?.Preferences ?? []).map((preference) => preference.Spread.SpreadDescriptor),
    maxReplicasPerNode: raw?.MaxReplicas ?? 0,
    platforms: given(raw?.Platforms)?.map((p) => ({ os: p.OS ?? '', arch: p.Architecture ?? '' })),
  }) as Placement;
}

/** Given without Parallelism it is 0, all at once, as a Go client means it; not given at all, Swarm's defaults. */
function decodeUpdate(raw: z.output<typeof zUpdate>): UpdateConfig {
  if (raw === null || raw === undefined) return DEFAULT_UPDATE;
  return {
    parallelism: raw.Parallelism ?? 0,
    delayNs: raw.Delay ?? 0,
    order: raw.Order === 'start-first' ? 'start-first' : 'stop-first',
    monitorNs: given(raw.Monitor) ?? DEFAULT_UPDATE.monitorNs,
    failureAction: given(raw.FailureAction) === undefined ? 'pause' : (raw.FailureAction as 'pause'),
    maxFailureRatio: raw.MaxFailureRatio ?? 0,
  };
}

function decodePort(raw: z.output<typeof zPort>): PublishedPort {
  return defined({
    name: given(raw.Name),
    protocol: given(raw.Protocol) ?? 'tcp',
    targetPort: raw.TargetPort ?? 0,
    publishedPort: raw.PublishedPort ?? 0,
    mode: raw.PublishMode === 'host' ? ('host' as const) : ('ingress' as const),
    hostIp: decodeHostIp(given(raw.HostIp)),
  }) as PublishedPort;
}

function decodeHostIp(text: string | undefined): string | undefined {
  const reading = readHostAddress(text ?? '');
  if ('problem' in reading)
    throw new InvalidError(`invalid service spec: EndpointSpec.Ports.HostIp: '${text}': ${reading.problem}`);
  return reading.hostIp;
}

export function encodeServiceSpec(spec: ServiceSpec): object {
  return {
    Name: spec.name,
    Labels: spec.labels,
    TaskTemplate: encodeTaskTemplate(spec),
    Mode: encodeMode(spec.mode),
    ...(isJob(spec.mode)
      ? {}
      : { UpdateConfig: encodeUpdate(spec.update), RollbackConfig: encodeUpdate(spec.rollback) }),
    EndpointSpec: {
      Mode: spec.endpointMode,
      ...(spec.ports.length > 0 ? { Ports: spec.ports.map(encodePort) } : {}),
    },
  };
}

/** By id, a network of the node as well: clients compare it with what they looked up. */
function encodeNetworks({ networks, container }: ServiceSpec): object[] | undefined {
  const own = container.runtime?.network;
  if (own !== undefined) return [{ Target: nodeNetworkId(own) }];
  return given(networks)?.map(encodeAttachment);
}

function encodeMode(mode: ServiceMode): object {
  switch (mode.kind) {
    case 'replicated':
      return { Replicated: { Replicas: mode.replicas } };
    case 'container':
      // Nobody is shown the service of a single container.
      return { Replicated: { Replicas: 1 } };
    case 'global':
      return { Global: {} };
    case 'replicated-job':
      return {
        ReplicatedJob: { MaxConcurrent: mode.maxConcurrent, TotalCompletions: mode.totalCompletions },
      };
    case 'global-job':
      return { GlobalJob: {} };
    case 'cron':
      // The labels say when. No number of completions is waited for.
      return { ReplicatedJob: { MaxConcurrent: 0, TotalCompletions: 0 } };
    default:
      return assertNever(mode);
  }
}

/** What a service's TaskTemplate and a task's Spec have in common: all of it. */
export function encodeTaskTemplate(spec: ServiceSpec): object {
  return defined({
    ContainerSpec: encodeContainerSpec(spec.container),
    Resources: encodeResources(spec),
    RestartPolicy: {
      Condition: spec.restart.condition,
      Delay: spec.restart.delayNs,
      MaxAttempts: spec.restart.maxAttempts,
      Window: spec.restart.windowNs,
    },
    Placement: encodePlacement(spec.placement),
    Networks: encodeNetworks(spec),
    ForceUpdate: spec.forceUpdate,
    Runtime: 'container',
    LogDriver:
      spec.logDriver === undefined
        ? undefined
        : { Name: spec.logDriver.name, Options: spec.logDriver.options },
  });
}

function encodePlacement(placement: Placement): object {
  return defined({
    Constraints: given(placement.constraints),
    Preferences: given(placement.spread)?.map((s) => ({ Spread: { SpreadDescriptor: s } })),
    MaxReplicas: given(placement.maxReplicasPerNode),
    Platforms: placement.platforms?.map((p) => ({ OS: p.os, Architecture: p.arch })),
  });
}

function encodeUpdate(update: UpdateConfig): object {
  return {
    Parallelism: update.parallelism,
    Delay: update.delayNs,
    FailureAction: update.failureAction,
    Monitor: update.monitorNs,
    MaxFailureRatio: update.maxFailureRatio,
    Order: update.order,
  };
}

/** A port that the manager chooses shows no PublishedPort, so that it is chosen again after a round trip. */
export function encodePort(port: PublishedPort): object {
  return defined({
    Name: port.name,
    Protocol: port.protocol,
    TargetPort: port.targetPort,
    PublishedPort: given(port.publishedPort),
    PublishMode: port.mode,
    HostIp: port.hostIp,
  });
}
