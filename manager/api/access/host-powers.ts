/**
 * PURE. What makes a container more than a container: with it, whoever decides what runs there has the node. Only admins may
 * ask for it. Fields that this file does not know count as such, so that a new one is looked at first.
 */
import { volumeMount } from '../../../shared/lib/local-volume.ts';
import type { ContainerSpec, MountSpec, RuntimeOptions, ServiceSpec } from '../../../shared/model/index.ts';

const HARMLESS_RUNTIME: ReadonlySet<string> = new Set([
  'shmBytes',
  'diskBytes',
  'domainname',
  'macAddress',
  'cpuShares',
  'cpuPeriodUs',
  'cpuset',
  'cpusetMems',
  'annotations',
  'blockIo',
  'memorySwapBytes',
  'memorySwappiness',
  'oomKillDisable',
  'pullPolicy',
] satisfies (keyof RuntimeOptions)[]);

const HARMLESS: ReadonlySet<string> = new Set([
  'image',
  'labels',
  'command',
  'args',
  'env',
  'workingDir',
  'user',
  'groups',
  'hostname',
  'readOnlyRoot',
  'init',
  'tty',
  'openStdin',
  'stdinOnce',
  'consoleSize',
  'stopSignal',
  'stopGraceNs',
  'extraHosts',
  'dns',
  'healthCheck',
  'capDrop',
  'ulimits',
  'secrets',
  'configs',
  'noNewPrivileges',
] satisfies (keyof ContainerSpec)[]);

/** Those of a namespace of the container's own (moby, opts/ and runc's list). */
const OWN_SYSCTL =
  /^(?:net\.|fs\.mqueue\.|kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$)/;

/** Names of what the spec asks for, for people: `bind mount of /etc`. Empty: a container like any other. */
export function hostPowers({ container }: ServiceSpec): string[] {
  const {
    mounts,
    runtime,
    capAdd,
    sysctls,
    oomScoreAdj,
    seccompUnconfined,
    seccompProfile,
    selinux,
    ...rest
  } = container;
  return [
    ...mounts.flatMap(mountPower),
    ...runtimePowers(runtime),
    ...(capAdd ?? []).map((name) => `capability ${name}`),
    ...Object.keys(sysctls ?? {}).flatMap((name) => (OWN_SYSCTL.test(name) ? [] : [`sysctl ${name}`])),
    ...((oomScoreAdj ?? 0) < 0 ? [`oom score ${oomScoreAdj}`] : []),
    ...(seccompUnconfined === true || seccompProfile !== undefined ? ['a seccomp profile of its own'] : []),
    ...(selinux === undefined ? [] : ['an SELinux label of its own']),
    ...Object.entries(rest).flatMap(([key, value]) => (HARMLESS.has(key) || isNothing(value) ? [] : [key])),
  ];
}

function mountPower(mount: MountSpec): string[] {
  switch (mount.kind) {
    case 'bind':
      return [`bind mount of ${mount.source}`];
    case 'tmpfs':
    case 'image':
      return [];
    case 'volume':
      return volumePowers(mount.driver, mount.options ?? {}).map(
        (power) => `${power} in volume ${mount.source}`,
      );
  }
}

/** A volume whose options have the node mount something is what it mounts; a tmpfs is nobody's. */
export function volumePowers(
  driver: string | undefined,
  options: Readonly<Record<string, string>>,
): string[] {
  if (driver !== undefined && driver !== '' && driver !== 'local') return [`volume driver ${driver}`];
  try {
    const mount = volumeMount(options);
    return mount === undefined || mount.type === 'tmpfs' ? [] : [`mount of ${mount.source}`];
  } catch {
    return ['volume options'];
  }
}

function runtimePowers(runtime: RuntimeOptions = {}): string[] {
  const {
    privileged,
    appArmorProfile,
    devices = [],
    deviceRequests = [],
    deviceRules = [],
    network,
    ...others
  } = runtime;
  const { userNamespace, maskedPaths, readOnlyPaths, postStart = [], preStop = [], ...rest } = others;
  return [
    ...(privileged === true ? ['privileged'] : []),
    ...([...postStart, ...preStop].some((hook) => hook.privileged) ? ['a privileged command'] : []),
    // It may be more than the agent's own, where the node confines that.
    ...(appArmorProfile === undefined ? [] : [`AppArmor profile ${appArmorProfile}`]),
    // An empty list is the most that can be asked for.
    ...(maskedPaths === undefined && readOnlyPaths === undefined ? [] : ['system paths of its own']),
    ...devices.map(({ source }) => `device ${source}`),
    ...deviceRequests.flatMap(({ kinds, names = ['...'] }) =>
      names.map((name) => `device ${kinds.join(' or ')}=${name}`),
    ),
    ...deviceRules.map((rule) => `device rule ${rule}`),
    ...(userNamespace === 'host' ? ["the node's user namespace"] : []),
    ...(network === undefined || network === 'none' ? [] : [`network ${network}`]),
    ...Object.entries(rest).flatMap(([key, value]) =>
      HARMLESS_RUNTIME.has(key) || isNothing(value) ? [] : [key],
    ),
  ];
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === false || value === '') return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
