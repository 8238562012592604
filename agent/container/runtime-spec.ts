/** PURE. From a task's spec and its image's configuration to an OCI runtime-spec config.json (v1.1). */
import { posix } from 'node:path';
import {
  type ContainerSpec,
  hasForeignNetwork,
  type ResourceAmounts,
  type RuntimeOptions,
} from '../../shared/model/index.ts';
import type { ContainerLimits } from '../../shared/model/node-methods/index.ts';
import { parseSeccompProfile, resolveSeccomp } from '../../shared/lib/seccomp-profile.ts';
import type { OciConfig, OciMount, OciResources, OciSeccomp } from '../native/container.ts';
import type { Labels } from '../confinement/labels.ts';
import { ALL_CAPABILITIES, capabilitySet } from './capabilities.ts';
import type { ResolvedDevice } from './devices.ts';
import { outermostFirst } from './mount-order.ts';
import { DEFAULT_SECCOMP } from './seccomp-default.ts';
import type { ResolvedUser } from './users.ts';

/** What the image says, as far as a process needs it. */
export interface ImageProcess {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly user: string;
  readonly workingDir: string;
}

export interface BindMount {
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
  /** Of an image, topmost first: they are mounted, and not the source. */
  readonly layers?: readonly string[];
}

export interface RuntimeSpecInput {
  readonly spec: ContainerSpec;
  readonly limits: ResourceAmounts;
  readonly reservations: ResourceAmounts;
  readonly image: ImageProcess;
  readonly user: ResolvedUser;
  readonly hostname: string;
  readonly cgroupsPath: string;
  /** Volumes and binds, sources resolved to host paths, and the agent's own files (/etc/hosts ...). */
  readonly binds: readonly BindMount[];
  readonly devices?: readonly ResolvedDevice[];
  readonly blockIo?: OciResources['blockIO'];
  /** Of SELinux. */
  readonly labels?: Labels | undefined;
  /** It has a volume with a size. */
  readonly limitedVolume?: boolean;
  /** Architecture as Go names it, and the kernel's release: what a seccomp profile may depend on. */
  readonly machine?: { readonly arch: string; readonly release: string };
  /** What ALL, and privileged, stand for: a process gives no more than it has. */
  readonly available?: readonly string[];
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The paths that Docker hides or makes read-only (moby oci/defaults.go names the same files). */
const MASKED = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

const NETWORK_SYSCTLS = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

/** Throws TypeError when neither the service nor its image says what to run. */
export function runtimeSpec(input: RuntimeSpecInput): OciConfig {
  const { spec, user } = input;
  const options = spec.runtime ?? {};
  const privileged = options.privileged === true;
  const available = input.available ?? ALL_CAPABILITIES;
  const capabilities = capabilitySet(
    privileged ? ['ALL'] : (spec.capAdd ?? []),
    spec.capDrop ?? [],
    available,
  );
  const held = user.uid === 0 ? capabilities : [];
  return {
    ociVersion: '1.1.0',
    ...(options.hostUts === true ? {} : { hostname: input.hostname }),
    ...(options.domainname === undefined ? {} : { domainname: options.domainname }),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
    root: { path: 'rootfs', readonly: spec.readOnlyRoot ?? false },
    process: {
      terminal: spec.tty === true,
      ...(spec.consoleSize === undefined ? {} : { consoleSize: consoleSize(spec.consoleSize) }),
      user: { uid: user.uid, gid: user.gid, additionalGids: [...user.additionalGids] },
      args: [...initArgs(spec), ...processArgs(spec, input.image)],
      env: processEnv(spec, input.image, input.hostname, user.home),
      // As it reads: a component before .. need not be there.
      cwd: posix.resolve('/', spec.workingDir || input.image.workingDir),
      capabilities: {
        bounding: capabilities,
        effective: held,
        permitted: held,
        inheritable: [],
        ambient: [],
      },
      rlimits: rlimits(spec),
      noNewPrivileges: spec.noNewPrivileges ?? false,
      ...(spec.oomScoreAdj === undefined ? {} : { oomScoreAdj: spec.oomScoreAdj }),
      ...(options.appArmorProfile === undefined ? {} : { apparmorProfile: options.appArmorProfile }),
      ...(input.labels === undefined ? {} : { selinuxLabel: input.labels.selinuxLabel }),
    },
    mounts: [...defaultMounts(options), ...ownMounts(input)],
    linux: {
      namespaces: namespaces(options),
      cgroupsPath: input.cgroupsPath,
      resources: resources(input, options),
      devices: (input.devices ?? []).map(({ device }) => device),
      sysctl: {
        // The node's own are not the container's to set.
        ...(hasForeignNetwork(options) ? {} : NETWORK_SYSCTLS),
        ...spec.sysctls,
      },
      maskedPaths: [...(options.maskedPaths ?? (privileged ? [] : MASKED))],
      readonlyPaths: [...(options.readOnlyPaths ?? (privileged ? [] : READ_ONLY))],
      ...(privileged ? {} : seccompOf(input, capabilities)),
      ...(input.labels === undefined ? {} : { mountLabel: input.labels.mountLabel }),
    },
  };
}

function consoleSize(size: { rows: number; columns: number }): { height: number; width: number } {
  return { height: size.rows, width: size.columns };
}

/** Where an init of ours is in a container that asked for one: as with Docker. */
export const INIT_PATH = '/sbin/docker-init';

function initArgs(spec: ContainerSpec): string[] {
  return spec.init === true ? [INIT_PATH, '--'] : [];
}

const LIMITED_SECCOMP: OciSeccomp = { ...DEFAULT_SECCOMP, keepsProjects: true };
const LIMITED_UNCONFINED: OciSeccomp = { defaultAction: 'SCMP_ACT_ALLOW', keepsProjects: true };

/**
 * The service's own profile, as far as it holds on this machine, or the default one, or none. Where the disk, or a volume,
 * is limited the container must not take its files out of the limit.
 */
function seccompOf(
  { spec, machine, limitedVolume }: RuntimeSpecInput,
  capabilities: readonly string[],
): { seccomp?: OciSeccomp } {
  const { seccompProfile, seccompUnconfined, runtime } = spec;
  const limited = runtime?.diskBytes !== undefined || limitedVolume === true;
  if (seccompUnconfined === true) return limited ? { seccomp: LIMITED_UNCONFINED } : {};
  if (seccompProfile === undefined) return { seccomp: limited ? LIMITED_SECCOMP : DEFAULT_SECCOMP };
  const { arch = '', release = '' } = machine ?? {};
  const own = resolveSeccomp(parseSeccompProfile(seccompProfile), { arch, release, capabilities });
  return { seccomp: limited ? { ...own, keepsProjects: true } : own };
}

/** One empty word is Docker's way to say that there is none, whatever the image has; its command stays. */
export function isEmptyEntrypoint(command: readonly string[]): boolean {
  return command.length === 1 && command[0] === '';
}

/** Docker's rule: an entrypoint given by the service drops the image's command. */
export function processArgs(spec: ContainerSpec, image: ImageProcess): string[] {
  const dropped = isEmptyEntrypoint(spec.command);
  const replaced = spec.command.length > 0 && !dropped;
  const entrypoint = dropped ? [] : replaced ? spec.command : image.entrypoint;
  const rest = spec.args.length > 0 || replaced ? spec.args : image.cmd;
  const args = [...entrypoint, ...rest];
  if (args.length === 0)
    throw new TypeError('no command specified: neither the service nor its image names one');
  return args;
}

/** Later values win; a bare KEY unsets the image's. */
export function processEnv(
  spec: ContainerSpec,
  image: ImageProcess,
  hostname: string,
  home: string,
): string[] {
  const env = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', hostname],
    ...(spec.tty === true ? [['TERM', 'xterm'] as const] : []),
    ['HOME', home],
  ]);
  for (const line of [...image.env, ...spec.env]) {
    const equals = line.indexOf('=');
    if (equals < 0) env.delete(line);
    else env.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return [...env].map(([key, value]) => `${key}=${value}`);
}

/** Its own: those of other containers are added when it is made. */
function namespaces(options: RuntimeOptions): { type: string }[] {
  const shared: Readonly<Record<string, boolean | undefined>> = {
    pid: options.hostPid === true || options.pidOf !== undefined,
    ipc: options.hostIpc === true || options.ipcOf !== undefined,
    uts: options.hostUts,
    network: hasForeignNetwork(options),
    cgroup: options.hostCgroup,
  };
  const types = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'];
  return types.filter((type) => shared[type] !== true).map((type) => ({ type }));
}

function defaultMounts(options: RuntimeOptions): OciMount[] {
  const none = ['nosuid', 'noexec', 'nodev'];
  const access = options.privileged === true ? 'rw' : 'ro';
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: none },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...none, access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [...none, 'relatime', access],
    },
    ...ipcMounts(options, none),
  ];
}

/** Message queues are those of the ipc namespace; shared memory is a mount, with the node's namespace the node's. */
function ipcMounts(options: RuntimeOptions, none: readonly string[]): OciMount[] {
  const mqueue = { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: [...none] };
  if (options.hostIpc === true) {
    const bind = {
      destination: '/dev/shm',
      type: 'bind',
      source: '/dev/shm',
      options: ['rbind', 'rprivate'],
    };
    return [mqueue, bind];
  }
  // It is among the binds.
  if (options.ipcOf !== undefined || options.ipcShareable === true) return [mqueue];
  const size = options.shmBytes === undefined ? '65536k' : String(options.shmBytes);
  const shm = { destination: '/dev/shm', type: 'tmpfs', source: 'shm' };
  return [mqueue, { ...shm, options: [...none, 'mode=1777', `size=${size}`] }];
}

function ownMounts({ spec, binds }: RuntimeSpecInput): OciMount[] {
  return outermostFirst([...tmpfsMounts(spec), ...binds.map(bindMount)], ({ destination }) => destination);
}

function tmpfsMounts(spec: ContainerSpec): OciMount[] {
  return spec.mounts.flatMap((mount) => {
    if (mount.kind !== 'tmpfs') return [];
    const options = [
      mount.suid === true ? 'suid' : 'nosuid',
      mount.dev === true ? 'dev' : 'nodev',
      mount.exec === true ? 'exec' : 'noexec',
      `mode=${(mount.mode ?? 0o1777).toString(8)}`,
    ];
    const { sizeBytes: size, uid, gid } = mount;
    for (const [key, value] of Object.entries({ size, uid, gid }))
      if (value !== undefined) options.push(`${key}=${value}`);
    if (mount.readOnly) options.push('ro');
    return [{ destination: mount.target, type: 'tmpfs', source: 'tmpfs', options }];
  });
}

function bindMount({ source, target, options, layers }: BindMount): OciMount {
  if (layers !== undefined)
    return { destination: target, type: 'x-layers', options: [...options, ...layers] };
  return { destination: target, type: 'bind', source, options: [...options] };
}

function rlimits(spec: ContainerSpec): { type: string; soft: number; hard: number }[] {
  return (spec.ulimits ?? []).map((limit) => ({
    type: `RLIMIT_${limit.name.toUpperCase()}`,
    soft: limit.soft,
    hard: limit.hard,
  }));
}

const USUAL_PERIOD_US = 100_000;
const LONGEST_PERIOD_US = 1_000_000;
/** The kernel takes no smaller quota. */
const MIN_QUOTA_US = 1000;

function usualPeriodUs(nanoCpus: number): number {
  return (nanoCpus * USUAL_PERIOD_US) / 1e9 < MIN_QUOTA_US ? LONGEST_PERIOD_US : USUAL_PERIOD_US;
}

/** PURE. CPU as a quota over a period, usually of 100 ms (cgroup v1 cfs_quota_us, v2 cpu.max). */
export function limitsOf({ limits, reservations, options }: ContainerLimits): OciResources {
  const periodUs = options.cpuPeriodUs ?? usualPeriodUs(limits.nanoCpus ?? 0);
  const cpu = {
    ...(limits.nanoCpus ? { quota: Math.round((limits.nanoCpus * periodUs) / 1e9), period: periodUs } : {}),
    ...(options.cpuShares ? { shares: options.cpuShares } : {}),
    ...(options.cpuset ? { cpus: options.cpuset } : {}),
    ...(options.cpusetMems ? { mems: options.cpusetMems } : {}),
  };
  const memory = {
    ...(limits.memoryBytes ? { limit: limits.memoryBytes } : {}),
    ...(options.memorySwapBytes ? { swap: options.memorySwapBytes } : {}),
    ...(reservations.memoryBytes ? { reservation: reservations.memoryBytes } : {}),
  };
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(limits.pids ? { pids: { limit: limits.pids } } : {}),
  };
}

function resources(input: RuntimeSpecInput, options: RuntimeOptions): OciResources {
  const { limits, reservations } = input;
  const devices = deviceRules(input.devices ?? [], options);
  const { memorySwappiness: swappiness, oomKillDisable } = options;
  const common = limitsOf({ limits, reservations, options });
  const memory = {
    ...common.memory,
    ...(swappiness === undefined ? {} : { swappiness }),
    ...(oomKillDisable === true ? { disableOOMKiller: true } : {}),
  };
  return {
    ...common,
    ...(Object.keys(memory).length === 0 ? {} : { memory }),
    ...(input.blockIo === undefined ? {} : { blockIO: input.blockIo }),
    ...(devices.length > 0 ? { devices } : {}),
  };
}

type DeviceRule = NonNullable<OciResources['devices']>[number];

/** Devices that are listed may be used in every way, so what a mapping leaves out is taken away again. */
function deviceRules(devices: readonly ResolvedDevice[], options: RuntimeOptions): DeviceRule[] {
  if (options.privileged === true) return [{ allow: true, type: 'a', access: 'rwm' }];
  const denied = devices.flatMap(({ device, access }): DeviceRule[] => {
    const left = [...'rw'].filter((letter) => !access.includes(letter)).join('');
    if (left === '' || device.major === undefined || device.minor === undefined) return [];
    const { type, major, minor } = device;
    return [{ allow: false, type, major, minor, access: left }];
  });
  return [...denied, ...(options.deviceRules ?? []).map(parseDeviceRule)];
}

/** "c 1:3 rwm", "b *:* m". Throws TypeError for anything else. */
export function parseDeviceRule(text: string): DeviceRule {
  const match = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text);
  if (match === null) throw new TypeError(`device rule "${text}": "c MAJOR:MINOR rwm" is expected`);
  const [, type = 'a', major = '*', minor = '*', access = 'rwm'] = match;
  const number = (name: 'major' | 'minor', value: string): object =>
    value === '*' ? {} : { [name]: Number(value) };
  return { allow: true, type, access, ...number('major', major), ...number('minor', minor) };
}
