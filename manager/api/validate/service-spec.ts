/** What a service spec must hold beyond its shape; the same for the REST API and for stacks. Pure. */
import { BANDWIDTH_LABELS } from '../../../shared/lib/bandwidth.ts';
import { kindsProblem, MAX_GENERIC_COUNT } from '../../../shared/lib/generic-resources.ts';
import { readLogDriver } from '../../../shared/lib/log-driver.ts';
import type { ResourceAmounts, ServiceSpec, UpdateConfig } from '../../../shared/model/index.ts';
import { parseConstraint } from '../../plan/constraint.ts';
import { nodeNetworkProblem } from '../ops/node-networks.ts';
import { checkAddresses } from './addresses.ts';
import { checkAliases } from './aliases.ts';
import { checkContainer } from './container-spec.ts';
import { checkPorts } from './ports.ts';

/** One thing wrong. `field` is the path in our model's words; the message says what is allowed. */
export interface SpecProblem {
  readonly field: string;
  readonly message: string;
}

// Swarm's rule (swarmkit manager/controlapi/common.go): also a DNS label, since names are looked up.
const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$/;
const NAME_MAX = 63;
const MIN_NANO_CPUS = 1_000_000;
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;
const MAX_NANO_CPUS = 100_000 * 1e9;
/** 1 PiB. */
const MAX_MEMORY_BYTES = 2 ** 50;
/** The kernel's PID_MAX_LIMIT. */
const MAX_PIDS = 4_194_304;
/** So many ended tasks have to be kept to count them. */
const MAX_ATTEMPTS = 10_000;

/** All problems, in the order of the fields. Empty: the spec may be stored. */
export function checkServiceSpec(spec: ServiceSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const check = (ok: boolean, field: string, message: string): void => {
    if (!ok) problems.push({ field, message });
  };
  check(spec.name !== '', 'name', 'a service needs a name');
  check(
    spec.name === '' || (spec.name.length <= NAME_MAX && NAME.test(spec.name)),
    'name',
    `'${spec.name}' is no valid name: letters, digits, - and _, at most ${NAME_MAX}, the first and last a letter or digit`,
  );
  if (spec.mode.kind === 'replicated') {
    check(isWhole(spec.mode.replicas), 'replicas', 'a whole number from 0 is expected');
    check(spec.mode.replicas <= 1_000_000, 'replicas', 'at most 1000000 are supported');
    const { min = 0, max = 1_000_000 } = spec.autoscale ?? {};
    const { replicas } = spec.mode;
    check(
      replicas >= min && replicas <= max,
      'replicas',
      `${replicas} is not allowed: shoal.autoscale.min and .max say ${min} to ${max}`,
    );
  }
  if (spec.mode.kind === 'replicated-job') {
    for (const field of ['totalCompletions', 'maxConcurrent'] as const) {
      const amount = spec.mode[field];
      check(isWhole(amount) && amount <= 1_000_000, field, 'a whole number from 0 to 1000000 is expected');
    }
  }
  problems.push(...checkContainer(spec.container));
  for (const name of BANDWIDTH_LABELS.filter((label) => label in spec.labels))
    problems.push({
      field: 'labels',
      message: `${name} is a label of the container (--container-label), not of the service`,
    });
  problems.push(...checkResources(spec), ...checkGenericRequests(spec), ...checkPlacement(spec));
  problems.push(...checkUpdate('update', spec.update), ...checkUpdate('rollback', spec.rollback));
  problems.push(...checkPorts(spec), ...checkAliases(spec), ...checkAddresses(spec));
  const log = readLogDriver(spec.logDriver).problems;
  problems.push(...log.map((message) => ({ field: 'logDriver', message })));
  const ownNetwork = nodeNetworkProblem(spec);
  if (ownNetwork !== undefined) problems.push({ field: 'networks', message: ownNetwork });
  const { restart } = spec;
  check(isWhole(restart.delayNs), 'restart.delay', 'a duration from 0 is expected');
  check(isWhole(restart.windowNs), 'restart.window', 'a duration from 0 is expected');
  check(
    isWhole(restart.maxAttempts) && restart.maxAttempts <= MAX_ATTEMPTS,
    'restart.maxAttempts',
    `a whole number from 0 to ${MAX_ATTEMPTS} is expected`,
  );
  return problems;
}

function checkResources(spec: ServiceSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  for (const kind of ['limits', 'reservations'] as const) {
    const { nanoCpus, memoryBytes } = spec[kind];
    problems.push(...checkMost(kind, spec[kind]));
    if (nanoCpus !== undefined && nanoCpus < MIN_NANO_CPUS) {
      problems.push({ field: `${kind}.cpus`, message: `${nanoCpus / 1e9} is too little: at least 0.001` });
    }
    if (memoryBytes !== undefined && memoryBytes < MIN_MEMORY_BYTES) {
      problems.push({
        field: `${kind}.memory`,
        message: `${memoryBytes} bytes are too little: at least 4 MiB`,
      });
    }
  }
  const { cpuPeriodUs } = spec.container.runtime ?? {};
  const quotaUs = ((spec.limits.nanoCpus ?? 0) * (cpuPeriodUs ?? 0)) / 1e9;
  if (quotaUs > 0 && quotaUs < 1000) {
    const message = `${quotaUs} of a period of ${cpuPeriodUs} microseconds is too little: at least 1000`;
    problems.push({ field: 'limits.cpus', message });
  }
  const swap = spec.container.runtime?.memorySwapBytes;
  const { memoryBytes: memory } = spec.limits;
  if (swap !== undefined && swap !== -1 && (memory === undefined || swap < memory)) {
    const message = 'needs a limit of memory, and is not less than it: it counts memory and swap together';
    problems.push({ field: 'memorySwap', message });
  }
  for (const amount of ['nanoCpus', 'memoryBytes'] as const) {
    const limit = spec.limits[amount];
    const reserved = spec.reservations[amount] ?? 0;
    if (limit !== undefined && reserved > limit) {
      const message = `${reserved} is more than the limit, which is ${limit}`;
      problems.push({ field: `reservations.${amount}`, message });
    }
  }
  return problems;
}

function checkGenericRequests({ reservations }: ServiceSpec): SpecProblem[] {
  const requests = reservations.genericResources ?? [];
  const field = 'reservations.genericResources';
  const problem = kindsProblem(requests.map(({ kind }) => kind));
  if (problem !== undefined) return [{ field, message: problem }];
  const wrong = requests.find(({ count }) => !isWhole(count) || count < 1 || count > MAX_GENERIC_COUNT);
  if (wrong === undefined) return [];
  const message = `${wrong.kind}: a whole number from 1 to ${MAX_GENERIC_COUNT} is expected, not ${wrong.count}`;
  return [{ field, message }];
}

function checkMost(kind: 'limits' | 'reservations', amounts: ResourceAmounts): SpecProblem[] {
  const { nanoCpus = 0, memoryBytes = 0, pids = 0 } = amounts;
  const problems: SpecProblem[] = [];
  if (nanoCpus > MAX_NANO_CPUS)
    problems.push({
      field: `${kind}.cpus`,
      message: `${nanoCpus / 1e9} is too much: at most ${MAX_NANO_CPUS / 1e9}`,
    });
  if (memoryBytes > MAX_MEMORY_BYTES)
    problems.push({ field: `${kind}.memory`, message: `${memoryBytes} bytes are too much: at most 1 PiB` });
  if (pids > MAX_PIDS)
    problems.push({ field: `${kind}.pids`, message: `${pids} is too much: at most ${MAX_PIDS}` });
  if (kind === 'reservations' && pids > 0)
    problems.push({ field: 'reservations.pids', message: 'processes can not be reserved: limit them' });
  return problems;
}

function checkPlacement(spec: ServiceSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  for (const constraint of spec.placement.constraints) {
    const problem = constraintProblem(constraint);
    if (problem !== undefined) problems.push({ field: 'placement.constraints', message: problem });
  }
  for (const descriptor of spec.placement.spread) {
    if (!/^(node|engine)\.labels\.\S+$/.test(descriptor)) {
      const message = `'${descriptor}': spread over node.labels.<name> or engine.labels.<name>`;
      problems.push({ field: 'placement.preferences', message });
    }
  }
  const most = spec.placement.maxReplicasPerNode;
  if (!isWhole(most) || most > 1_000_000) {
    problems.push({
      field: 'placement.maxReplicas',
      message: 'a whole number from 0 to 1000000 is expected',
    });
  }
  return problems;
}

function constraintProblem(constraint: string): string | undefined {
  try {
    parseConstraint(constraint);
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

function checkUpdate(field: string, update: UpdateConfig): SpecProblem[] {
  const problems: SpecProblem[] = [];
  for (const key of ['parallelism', 'delayNs', 'monitorNs'] as const) {
    if (!isWhole(update[key]))
      problems.push({ field: `${field}.${key}`, message: 'a whole number from 0 is expected' });
  }
  if (!(update.maxFailureRatio >= 0 && update.maxFailureRatio <= 1)) {
    problems.push({ field: `${field}.maxFailureRatio`, message: 'a ratio from 0 to 1 is expected' });
  }
  if (field === 'rollback' && update.failureAction === 'rollback') {
    problems.push({
      field: 'rollback.failureAction',
      message: "a rollback is not rolled back: 'pause' or 'continue'",
    });
  }
  return problems;
}

export function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
