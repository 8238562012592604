/** `deploy` of a service, and `restart`, which says less of the same. */
import {
  type Autoscale,
  DEFAULT_RESTART,
  DEFAULT_UPDATE,
  isJob,
  type Labels,
  type Placement,
  type Reservations,
  type ResourceAmounts,
  type RestartPolicy,
  type ServiceMode,
  type UpdateConfig,
} from '../../shared/model/index.ts';
import { readAutoscaleSection, readAutoscaling } from './autoscale.ts';
import { readGenericResources } from './generic-resources.ts';
import { CRON_PREFIX, readCronLabels, readCronSection } from './cron.ts';
import { readPlacementLabels } from './placement-labels.ts';
import { PRIORITY_LABEL, readPriority } from './priority.ts';
import { DEADLINE_LABEL, readUpdateDeadline } from './update-deadline.ts';
import { defined, type KeyRules, labels, type Section } from './section.ts';

export interface Deploy {
  readonly mode: ServiceMode;
  readonly labels: Labels;
  readonly endpointMode: 'vip' | 'dnsrr';
  readonly limits: ResourceAmounts;
  readonly reservations: Reservations;
  readonly restart: RestartPolicy;
  /** The file itself says when to restart. */
  readonly saysRestart: boolean;
  readonly placement: Placement;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly updateDeadlineMs?: number;
  readonly priority?: number;
  readonly autoscale?: Autoscale;
}

const DEVICE_RULES: KeyRules = {
  devices: {
    severity: 'error',
    message: 'can be reserved only, not limited: give them under reservations',
  },
  generic_resources: {
    severity: 'error',
    message: 'can be reserved only, not limited: give it under reservations',
  },
};
const NO_AMOUNTS: ResourceAmounts = {};

export function readDeploy(service: Section): Deploy {
  const deploy = service.section('deploy');
  const resources = deploy?.section('resources');
  const own = deploy === undefined ? {} : ownLabels(deploy);
  const result: Deploy = {
    mode: readSchedule(deploy, readMode(service, deploy), own),
    labels: own,
    endpointMode: deploy?.oneOf('endpoint_mode', ['vip', 'dnsrr']) ?? 'vip',
    limits: withOwn(service, readAmounts(resources?.section('limits'), 'limits'), 'limits', {
      nanoCpus: readOwnCpus(service),
      memoryBytes: ['mem_limit', service.bytes('mem_limit')],
      pids: ['pids_limit', service.whole('pids_limit', -1)],
    }),
    reservations: readReservations(service, resources),
    restart: readRestart(service, deploy),
    saysRestart: service.has('restart') || deploy?.has('restart_policy') === true,
    placement: { ...readPlacement(service, deploy), ...readPlacementRules(deploy, own) },
    update: readUpdate(deploy, 'update_config'),
    rollback: readUpdate(deploy, 'rollback_config'),
    ...readDeadline(deploy, own),
    ...readOwnPriority(deploy, own),
  };
  if (deploy !== undefined && isJob(result.mode)) refuseUpdateConfig(deploy);
  const scaled = readAutoscaling(deploy, own, result);
  const mode = saysReplicas(service, deploy) ? result.mode : leastOf(result.mode, scaled.autoscale);
  resources?.end();
  deploy?.end();
  return { ...result, ...scaled, mode };
}

/** The keys that stand for labels, and labels themselves. */
function ownLabels(deploy: Section): Labels {
  return { ...labels(deploy, 'labels'), ...readCronSection(deploy), ...readAutoscaleSection(deploy) };
}

function saysReplicas(service: Section, deploy: Section | undefined): boolean {
  return service.take('scale') !== undefined || deploy?.take('replicas') !== undefined;
}

/** Without a number of its own, a service that is scaled by use starts with the least. */
function leastOf(mode: ServiceMode, autoscale: Autoscale | undefined): ServiceMode {
  return autoscale === undefined ? mode : { kind: 'replicated', replicas: autoscale.min };
}

/** `cpus`, or `cpu_quota` of each `cpu_period`, both in microseconds; -1 is no limit. */
function readOwnCpus(service: Section): readonly [key: string, nanoCpus: number | undefined] {
  const cpus = service.cpus('cpus');
  const quota = service.whole('cpu_quota', -1) ?? 0;
  const nanoCpus =
    quota > 0 ? Math.round((quota * 1e9) / (service.whole('cpu_period') || 100_000)) : undefined;
  if (cpus !== undefined && nanoCpus !== undefined && cpus !== nanoCpus)
    differs(service, 'cpu_quota', 'cpus');
  return cpus === undefined ? ['cpu_quota', nanoCpus] : ['cpus', cpus];
}

/** The older keys beside `deploy` say the same; both may be given if they agree. */
function withOwn(
  service: Section,
  amounts: ResourceAmounts,
  kind: 'limits' | 'reservations',
  own: { readonly [K in keyof ResourceAmounts]: readonly [key: string, amount: number | undefined] },
): ResourceAmounts {
  const result: Partial<Record<keyof ResourceAmounts, number>> = { ...amounts };
  for (const field of ['nanoCpus', 'memoryBytes', 'pids'] as const) {
    const [key, amount] = own[field] ?? ['', undefined];
    // 0 and -1 are Docker's ways to say none.
    if (amount === undefined || amount <= 0) continue;
    if (amounts[field] !== undefined && amounts[field] !== amount)
      differs(service, key, `deploy.resources.${kind}`);
    result[field] = amount;
  }
  return result;
}

function differs(service: Section, key: string, other: string): void {
  const at = service.map.entries.get(key)?.at ?? service.map;
  service.problems.error(
    at,
    `${service.map.key}.${key}`,
    `differs from ${other}: one of the two is expected`,
  );
}

function readPlacementRules(
  deploy: Section | undefined,
  own: Labels,
): Pick<Placement, 'strategy' | 'affinities'> {
  const reading = readPlacementLabels(own);
  if (reading.kind === 'read') return reading.placement;
  const at = deploy?.map.entries.get('labels')?.at;
  if (at !== undefined) deploy?.problems.error(at, at.key, `${reading.field}: ${reading.message}`);
  return {};
}

function readDeadline(deploy: Section | undefined, own: Labels): Pick<Deploy, 'updateDeadlineMs'> {
  const deadline = readUpdateDeadline(own);
  if (deadline === undefined || deploy === undefined) return {};
  if (typeof deadline === 'number') return { updateDeadlineMs: deadline };
  const at = deploy.map.entries.get('labels')?.at ?? deploy.map;
  deploy.problems.error(at, `${deploy.map.key}.labels`, `${DEADLINE_LABEL}: ${deadline}`);
  return {};
}

function readOwnPriority(deploy: Section | undefined, own: Labels): Pick<Deploy, 'priority'> {
  const priority = readPriority(own);
  if (priority === undefined || deploy === undefined) return {};
  if (typeof priority === 'number') return { priority };
  const at = deploy.map.entries.get('labels')?.at ?? deploy.map;
  deploy.problems.error(at, `${deploy.map.key}.labels`, `${PRIORITY_LABEL}: ${priority}`);
  return {};
}

/** A job's labels may say when it runs. */
function readSchedule(deploy: Section | undefined, mode: ServiceMode, own: Labels): ServiceMode {
  const cron = readCronLabels(own);
  if (cron.kind === 'none' || deploy === undefined) return mode;
  const key = deploy.has('x-shoal-cron') ? 'x-shoal-cron' : 'labels';
  const at = deploy.map.entries.get(key)?.at ?? deploy.map;
  const say = (field: string, message: string): void =>
    deploy.problems.error(at, `${deploy.map.key}.${key}`, `${field}: ${message}`);
  if (cron.kind === 'problem') {
    say(cron.field, cron.message);
    return mode;
  }
  const implied = key === 'x-shoal-cron' && !deploy.has('mode');
  if (!implied && mode.kind !== 'replicated-job') say(`${CRON_PREFIX}schedule`, 'needs mode replicated-job');
  else if (sizeOf(mode) > 1)
    say(`${CRON_PREFIX}schedule`, 'a run is one task: replicas can not be more than 1');
  return cron.mode;
}

function sizeOf(mode: ServiceMode): number {
  if (mode.kind === 'replicated') return mode.replicas;
  return mode.kind === 'replicated-job' ? mode.totalCompletions : 1;
}

function readMode(service: Section, deploy: Section | undefined): ServiceMode {
  const text = deploy?.text('mode') ?? 'replicated';
  const scale = service.whole('scale');
  const own = deploy?.whole('replicas');
  if (own !== undefined && scale !== undefined && own !== scale) differs(service, 'scale', 'deploy.replicas');
  const global = text === 'global' || text === 'global-job';
  if (global && scale !== undefined) differs(service, 'scale', `deploy.mode ${text}`);
  const replicas = own ?? scale;
  if (global) {
    if (own !== undefined && deploy !== undefined) {
      deploy.problems.error(
        deploy.map,
        `${deploy.map.key}.replicas`,
        `replicas can not be used with mode ${text}`,
      );
    }
    return { kind: text };
  }
  if (text === 'replicated-job') {
    const total = replicas ?? 1;
    return { kind: 'replicated-job', totalCompletions: total, maxConcurrent: total };
  }
  if (text !== 'replicated' && deploy !== undefined) {
    deploy.problems.error(
      deploy.map.entries.get('mode')?.value ?? deploy.map,
      `${deploy.map.key}.mode`,
      `'${text}': replicated, global, replicated-job or global-job is expected`,
    );
  }
  return { kind: 'replicated', replicas: replicas ?? 1 };
}

/** An update of a job is a new execution: there is nothing to roll. */
function refuseUpdateConfig(deploy: Section): void {
  for (const key of ['update_config', 'rollback_config']) {
    const entry = deploy.map.entries.get(key);
    if (entry !== undefined)
      deploy.problems.error(entry.at, `${deploy.map.key}.${key}`, 'can not be used with jobs');
  }
}

function readReservations(service: Section, resources: Section | undefined): Reservations {
  const section = resources?.section('reservations');
  const genericResources = readGenericResources(section);
  // They are the container's (devices.ts).
  section?.take('devices');
  const amounts = withOwn(service, readAmounts(section, 'reservations'), 'reservations', {
    memoryBytes: ['mem_reservation', service.bytes('mem_reservation')],
  });
  return { ...amounts, ...(genericResources.length === 0 ? {} : { genericResources }) };
}

function readAmounts(section: Section | undefined, name: 'limits' | 'reservations'): ResourceAmounts {
  if (section === undefined) return NO_AMOUNTS;
  const amounts = {
    nanoCpus: section.cpus('cpus'),
    memoryBytes: section.bytes('memory'),
    pids: name === 'limits' ? section.whole('pids') : undefined,
  };
  section.end(DEVICE_RULES);
  // 0 is Docker's way to say none.
  return defined({
    nanoCpus: amounts.nanoCpus === 0 ? undefined : amounts.nanoCpus,
    memoryBytes: amounts.memoryBytes === 0 ? undefined : amounts.memoryBytes,
    pids: amounts.pids === 0 ? undefined : amounts.pids,
  }) as ResourceAmounts;
}

function readRestart(service: Section, deploy: Section | undefined): RestartPolicy {
  const simple = readSimpleRestart(service);
  const policy = deploy?.section('restart_policy');
  if (policy === undefined) return simple ?? DEFAULT_RESTART;
  if (simple !== undefined) {
    const at = service.map.entries.get('restart')?.at ?? service.map;
    service.problems.warning(
      at,
      `${service.map.key}.restart`,
      'has no effect: deploy.restart_policy is given',
    );
  }
  const result: RestartPolicy = {
    condition: policy.oneOf('condition', ['any', 'on-failure', 'none']) ?? 'any',
    delayNs: policy.duration('delay') ?? DEFAULT_RESTART.delayNs,
    maxAttempts: policy.whole('max_attempts') ?? 0,
    windowNs: policy.duration('window') ?? 0,
  };
  policy.end();
  return result;
}

/** `restart: always | unless-stopped | on-failure[:N] | no`. */
function readSimpleRestart(service: Section): RestartPolicy | undefined {
  const value = service.take('restart');
  if (value === undefined) return undefined;
  // An unquoted no is false for older YAML and text for the newer: both mean "no".
  const text = value.kind === 'scalar' && value.value === false ? 'no' : service.textOf(value);
  if (text === undefined) return undefined;
  const match = /^(?:(always|unless-stopped)|(no|none)|on-failure(?::(\d+))?)$/.exec(text);
  if (match === null) {
    service.problems.error(
      value,
      value.key,
      `'${text}': no, always, unless-stopped or on-failure[:N] is expected`,
    );
    return undefined;
  }
  if (match[1] !== undefined) return DEFAULT_RESTART;
  if (match[2] !== undefined) return { ...DEFAULT_RESTART, condition: 'none' };
  return { ...DEFAULT_RESTART, condition: 'on-failure', maxAttempts: Number(match[3] ?? 0) };
}

function readPlacement(service: Section, deploy: Section | undefined): Placement {
  const placement = deploy?.section('placement');
  const platform = service.text('platform');
  const spread = (placement?.list('preferences')?.items ?? []).flatMap((item) => {
    const entry = item.kind === 'map' ? item.entries.get('spread')?.value : undefined;
    const text = entry === undefined ? undefined : placement?.textOf(entry);
    if (text !== undefined && item.kind === 'map' && item.entries.size === 1) return [text];
    placement?.problems.error(item, item.key, 'spread: ATTRIBUTE is expected');
    return [];
  });
  const result = defined({
    constraints: placement?.texts('constraints') ?? [],
    spread,
    maxReplicasPerNode: placement?.whole('max_replicas_per_node') ?? 0,
    platforms: platform === undefined ? undefined : [readPlatform(platform)],
  }) as Placement;
  placement?.end();
  return result;
}

/** "linux/amd64" -> the os and the architecture; what follows is a variant, which nodes do not tell. */
function readPlatform(text: string): { os: string; arch: string } {
  const [os = '', arch = ''] = text.split('/');
  return { os, arch };
}

function readUpdate(deploy: Section | undefined, name: 'update_config' | 'rollback_config'): UpdateConfig {
  const config = deploy?.section(name);
  if (config === undefined) return DEFAULT_UPDATE;
  const actions =
    name === 'update_config'
      ? (['pause', 'continue', 'rollback'] as const)
      : (['pause', 'continue'] as const);
  const result: UpdateConfig = {
    parallelism: config.whole('parallelism') ?? 1,
    delayNs: config.duration('delay') ?? 0,
    order: config.oneOf('order', ['stop-first', 'start-first']) ?? 'stop-first',
    monitorNs: config.duration('monitor') ?? DEFAULT_UPDATE.monitorNs,
    failureAction: config.oneOf('failure_action', actions) ?? 'pause',
    maxFailureRatio: config.ratio('max_failure_ratio') ?? 0,
  };
  config.end();
  return result;
}
