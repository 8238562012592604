import { requestProblem } from '../../../shared/lib/cdi.ts';
import {
  type BlockIo,
  type ContainerSpec,
  hasForeignNetwork,
  type HealthCheck,
  type Labels,
  type MountSpec,
  type RuntimeOptions,
} from '../../../shared/model/index.ts';
import { BANDWIDTH_LABELS, readBandwidth } from '../../../shared/lib/bandwidth.ts';
import { nodesOwn } from '../../../shared/lib/nodes-own.ts';
import { describeError } from '../../../shared/errors/index.ts';
import { volumeMount } from '../../../shared/lib/local-volume.ts';
import { templateProblem } from '../../../shared/lib/template.ts';
import { MIN_DISK_BYTES } from '../../../shared/lib/disk-limit.ts';
import { labelProblem, profileProblem, UNCONFINED } from '../../../shared/lib/confinement.ts';
import { parseSeccompProfile } from '../../../shared/lib/seccomp-profile.ts';
import { checkFiles } from './files.ts';
import type { SpecProblem } from './service-spec.ts';

// A reference as distribution/reference has it, loosely: host[:port]/path[:tag][@digest].
const IMAGE =
  /^(?:[a-zA-Z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@[a-z0-9]+:[a-f0-9]{32,})?$/;
const IMAGE_MAX = 512;
const HOSTNAME = /^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;
const SIGNAL = /^(SIG)?[A-Z][A-Z0-9+-]*$|^\d{1,2}$/i;
const VOLUME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** limits.h */
const PATH_MAX = 4096;
const MS_NS = 1_000_000;
/** Nodes' timers take no more: 24 days. */
const MAX_TIMER_NS = 24 * 24 * 3600 * 1e9;

export function checkContainer(container: ContainerSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const check = (ok: boolean, field: string, message: string): void => {
    if (!ok) problems.push({ field, message });
  };
  check(container.image !== '', 'image', 'ContainerSpec: image reference must be provided');
  check(
    container.image === '' || (container.image.length <= IMAGE_MAX && IMAGE.test(container.image)),
    'image',
    `'${container.image}' is not a valid repository/tag`,
  );
  for (const entry of container.env) {
    check(entry !== '' && !entry.startsWith('='), 'env', `'${entry}': "NAME=value" or "NAME" is expected`);
  }
  const { hostname, workingDir, stopSignal, stopGraceNs = 0 } = container;
  check(stopGraceNs <= MAX_TIMER_NS, 'stopGracePeriod', 'at most 24 days (576h) are expected');
  check(
    hostname === undefined || hostname.includes('{{') || (HOSTNAME.test(hostname) && hostname.length <= 64),
    'hostname',
    `'${hostname}' is no valid host name`,
  );
  check(workingDir === undefined || workingDir.startsWith('/'), 'workingDir', 'an absolute path is expected');
  check(stopSignal === undefined || SIGNAL.test(stopSignal), 'stopSignal', `'${stopSignal}' is no signal`);
  problems.push(...checkTemplates(container), ...checkMounts(container.mounts), ...checkFiles(container));
  problems.push(...checkRuntime(container), ...checkBandwidth(container));
  if (container.healthCheck !== undefined) problems.push(...checkHealth(container.healthCheck));
  for (const limit of container.ulimits ?? []) {
    check(
      limit.soft <= limit.hard || limit.hard === -1,
      'ulimits',
      `${limit.name}: the soft limit ${limit.soft} is above the hard limit ${limit.hard}`,
    );
  }
  return problems;
}

/** Environment, host name and mounts are templates, as in Swarm. */
function checkTemplates(container: ContainerSpec): SpecProblem[] {
  const texts: (readonly [field: string, text: string])[] = [];
  for (const entry of container.env) texts.push(['env', entry.slice(entry.indexOf('=') + 1)]);
  if (container.hostname !== undefined) texts.push(['hostname', container.hostname]);
  for (const mount of container.mounts) {
    texts.push(['mounts', mount.target]);
    if (mount.kind === 'bind' || mount.kind === 'volume') texts.push(['mounts', mount.source]);
    if (mount.kind === 'volume') {
      for (const label of Object.values(mount.labels ?? {})) texts.push(['mounts', label]);
    }
  }
  return texts.flatMap(([field, text]) => {
    const message = text.includes('{{') ? templateProblem(text, false) : undefined;
    return message === undefined ? [] : [{ field, message }];
  });
}

function checkBandwidth({ labels, runtime }: ContainerSpec): SpecProblem[] {
  const problems = readBandwidth(labels).problems.map((message) => ({ field: 'labels', message }));
  const limited = BANDWIDTH_LABELS.find((name) => name in labels);
  if (limited !== undefined && hasForeignNetwork(runtime))
    problems.push({ field: 'labels', message: `${limited}: the container has no network of its own` });
  return problems;
}

const DEVICE_ACCESS = /^(?!.*(.).*\1)[rwm]{1,3}$/;
const DEVICE_RULE = /^[abc] (\d+|\*):(\d+|\*) [rwm]{1,3}$/;
const CPU_LIST = /^\d+(-\d+)?(,\d+(-\d+)?)*$/;

/** Docker's weights; 0 is none. */
function checkBlockIo({ weight = 500, weights = [], ...rates }: BlockIo): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const check = (ok: boolean, message: string): void => {
    if (!ok) problems.push({ field: 'blockIo', message });
  };
  for (const one of [weight, ...weights.map(({ amount }) => amount)])
    check(one >= 10 && one <= 1000, `the weight ${one}: from 10 to 1000 is expected`);
  for (const { path, amount } of [...weights, ...Object.values(rates).flat()]) {
    check(path.startsWith('/dev/'), `'${path}': a path below /dev is expected`);
    check(
      Number.isSafeInteger(amount) && amount >= 0,
      `${path}: ${amount}: a whole number from 0 is expected`,
    );
  }
  return problems;
}

/** What concerns the machine below the container: memory nodes, paths of the kernel, annotations for the runtime. */
function checkSystem(runtime: RuntimeOptions): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const check = (ok: boolean, field: string, message: string): void => {
    if (!ok) problems.push({ field, message });
  };
  const { cpusetMems = '0', maskedPaths = [], readOnlyPaths = [], annotations = {} } = runtime;
  check(CPU_LIST.test(cpusetMems), 'cpusetMems', `'${cpusetMems}': such as '0-2,4' is expected`);
  for (const path of [...maskedPaths, ...readOnlyPaths])
    check(
      path.startsWith('/') && path.length <= PATH_MAX && !path.split('/').includes('..'),
      'systemPaths',
      `'${path}': an absolute path without '..' is expected`,
    );
  check(!('' in annotations), 'annotations', 'an annotation needs a name');
  return problems;
}

function checkRuntime(container: ContainerSpec): SpecProblem[] {
  const { runtime = {}, oomScoreAdj = 0 } = container;
  const problems: SpecProblem[] = [];
  const check = (ok: boolean, field: string, message: string): void => {
    if (!ok) problems.push({ field, message });
  };
  check(
    oomScoreAdj >= -1000 && oomScoreAdj <= 1000,
    'oomScoreAdj',
    'a number from -1000 to 1000 is expected',
  );
  problems.push(...checkConfinement(container));
  for (const { source, target, access } of runtime.devices ?? []) {
    check(source.startsWith('/dev/'), 'devices', `'${source}': a path below /dev is expected`);
    check(target.startsWith('/'), 'devices', `'${target}': an absolute path is expected`);
    check(DEVICE_ACCESS.test(access), 'devices', `'${access}': letters of rwm are expected`);
  }
  for (const request of runtime.deviceRequests ?? []) {
    const problem = requestProblem(request);
    check(problem === undefined, 'deviceRequests', problem ?? '');
  }
  for (const field of ['postStart', 'preStop'] as const) {
    for (const { command, workingDir = '/', env = [] } of runtime[field] ?? []) {
      check(command.length > 0 && command[0] !== '', field, 'a command is missing');
      check(workingDir.startsWith('/'), field, `'${workingDir}': an absolute path is expected`);
      const wrong = env.find((line) => line.startsWith('=') || line === '' || line.includes('\0'));
      check(wrong === undefined, field, `'${wrong ?? ''}': NAME=VALUE is expected`);
    }
  }
  for (const rule of runtime.deviceRules ?? []) {
    check(DEVICE_RULE.test(rule), 'deviceRules', `'${rule}': such as 'c 1:3 rwm' is expected`);
  }
  problems.push(...checkBlockIo(runtime.blockIo ?? {}), ...checkSystem(runtime));
  const { diskBytes = MIN_DISK_BYTES } = runtime;
  check(
    diskBytes >= MIN_DISK_BYTES,
    'storageOpt',
    `size: at least ${MIN_DISK_BYTES} bytes (1m) are expected`,
  );
  const { cpuPeriodUs = 100_000 } = runtime;
  check(
    cpuPeriodUs >= 1000 && cpuPeriodUs <= 1_000_000,
    'cpuPeriod',
    'from 1000 to 1000000 microseconds are expected',
  );
  const { memorySwappiness: swappiness = 0 } = runtime;
  check(swappiness >= 0 && swappiness <= 100, 'memorySwappiness', 'a number from 0 to 100 is expected');
  const { cpuset, cpuShares, hostUts, hostIpc, ipcOf, domainname, shmBytes } = runtime;
  check(cpuset === undefined || CPU_LIST.test(cpuset), 'cpuset', `'${cpuset}': such as '0-2,4' is expected`);
  check(cpuShares === undefined || cpuShares >= 2, 'cpuShares', 'at least 2 are expected');
  const named = container.hostname ?? domainname;
  check(
    hostUts !== true || named === undefined,
    'uts',
    "with the node's uts namespace the node names the host",
  );
  const theNodes = runtime.userNamespace === 'private' ? nodesOwn(runtime) : [];
  check(
    theNodes.length === 0,
    'userns',
    `a user namespace of its own can not be had with ${theNodes.join(', ')}: those are the node's`,
  );
  check(
    (hostIpc !== true && ipcOf === undefined) || shmBytes === undefined,
    'shmSize',
    'with the ipc namespace of the node, or of another container, /dev/shm is theirs',
  );
  return problems;
}

function checkConfinement(container: ContainerSpec): SpecProblem[] {
  const { selinux, runtime } = container;
  const filter = seccompProblem(container);
  const profile = runtime?.appArmorProfile;
  const labels = selinux === undefined ? undefined : labelProblem(selinux);
  const name =
    profile === UNCONFINED
      ? 'unconfined is not a profile'
      : profile === undefined
        ? undefined
        : profileProblem(profile);
  return [
    ...(filter === undefined ? [] : [{ field: 'seccomp', message: filter }]),
    ...(name === undefined ? [] : [{ field: 'appArmor', message: name }]),
    ...(labels === undefined ? [] : [{ field: 'selinux', message: labels }]),
  ];
}

function seccompProblem({ seccompProfile, seccompUnconfined }: ContainerSpec): string | undefined {
  if (seccompProfile === undefined) return undefined;
  if (seccompUnconfined === true) return 'unconfined and a profile: one of the two is expected';
  try {
    parseSeccompProfile(seccompProfile);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function checkMounts(mounts: readonly MountSpec[]): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const targets = new Set<string>();
  for (const mount of mounts) {
    const report = (message: string): void => {
      problems.push({ field: 'mounts', message: `${mount.target}: ${message}` });
    };
    if (mount.target.length > PATH_MAX) {
      problems.push({ field: 'mounts', message: `a target has at most ${PATH_MAX} characters` });
      continue;
    }
    if (!mount.target.startsWith('/')) report('the target must be an absolute path');
    const target = mount.target.replace(/\/+$/, '') || '/';
    if (target === '/') report("a mount over '/' is not possible");
    if (targets.has(target)) report('duplicate mount point');
    targets.add(target);
    if (mount.kind === 'bind' && !mount.source.startsWith('/') && !mount.source.includes('{{')) {
      report(`the source '${mount.source}' of a bind mount must be an absolute path`);
    }
    if (
      mount.kind === 'bind' &&
      mount.readOnlyBelow === false &&
      !(mount.readOnly && mount.recursive !== false)
    )
      report('ReadOnlyNonRecursive is for a bind that is read-only and has what is mounted below');
    if (mount.kind === 'image' && !(mount.source.length <= IMAGE_MAX && IMAGE.test(mount.source)))
      report(`'${mount.source}' is not a valid repository/tag`);
    if (mount.kind === 'volume' || mount.kind === 'image') {
      const { subpath = 'a' } = mount;
      if (subpath.startsWith('/') || subpath.split('/').includes('..') || subpath.length > PATH_MAX)
        report(`the subpath '${subpath}' must be a relative path in the ${mount.kind}`);
    }
    if (mount.kind === 'volume') {
      const wrong = optionProblem(mount.options ?? {});
      if (wrong !== undefined) report(wrong);
      if (mount.source !== '' && !VOLUME.test(mount.source.replaceAll(/\{\{.*?\}\}/g, 'x'))) {
        report(`'${mount.source}' is no valid volume name: letters, digits, _ . - are allowed`);
      }
    }
  }
  return problems;
}

/** What the node would refuse when it makes the volume. */
function optionProblem(options: Labels): string | undefined {
  try {
    volumeMount(options);
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}

/** Docker's rule: a time is 0 (inherit) or at least 1 ms (daemon/container.go, validateHealthCheck). */
function checkHealth(check: HealthCheck): SpecProblem[] {
  const problems: SpecProblem[] = [];
  for (const key of ['intervalNs', 'timeoutNs', 'startPeriodNs', 'startIntervalNs'] as const) {
    if (check[key] !== 0 && check[key] < MS_NS) {
      problems.push({
        field: `healthCheck.${key}`,
        message: 'less than 1 ms: 0 or at least 1 ms is expected',
      });
    }
    if (check[key] > MAX_TIMER_NS)
      problems.push({ field: `healthCheck.${key}`, message: 'at most 24 days (576h) are expected' });
  }
  const [kind, ...rest] = check.test;
  if (kind !== undefined && !['NONE', 'CMD', 'CMD-SHELL'].includes(kind)) {
    problems.push({
      field: 'healthCheck.test',
      message: `'${kind}': NONE, CMD or CMD-SHELL is expected first`,
    });
  }
  if ((kind === 'CMD' || kind === 'CMD-SHELL') && rest.length === 0) {
    problems.push({ field: 'healthCheck.test', message: `${kind} without a command` });
  }
  return problems;
}
