/** PURE. From a task's spec and its image's configuration to an OCI runtime-spec config.json (v1.1). */
import type { ContainerSpec, ResourceAmounts } from '../../shared/model/index.ts';
import type { OciConfig, OciMount, OciResources } from '../native/container.ts';
import { capabilitySet } from './capabilities.ts';
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

/** Throws TypeError when neither the service nor its image says what to run. */
export function runtimeSpec(input: RuntimeSpecInput): OciConfig {
  const { spec, user } = input;
  const capabilities = capabilitySet(spec.capAdd ?? [], spec.capDrop ?? []);
  const held = user.uid === 0 ? capabilities : [];
  return {
    ociVersion: '1.1.0',
    hostname: input.hostname,
    root: { path: 'rootfs', readonly: spec.readOnlyRoot ?? false },
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: [...user.additionalGids] },
      args: processArgs(spec, input.image),
      env: processEnv(spec, input.image, input.hostname, user.home),
      cwd: spec.workingDir || input.image.workingDir || '/',
      capabilities: {
        bounding: capabilities,
        effective: held,
        permitted: held,
        inheritable: [],
        ambient: [],
      },
      rlimits: rlimits(spec),
      noNewPrivileges: false,
    },
    mounts: [...defaultMounts(), ...tmpfsMounts(spec), ...input.binds.map(bindMount)],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      cgroupsPath: input.cgroupsPath,
      resources: resources(input.limits, input.reservations),
      sysctl: {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': '0 2147483647',
        ...spec.sysctls,
      },
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
      seccomp: DEFAULT_SECCOMP,
    },
  };
}

/** Docker's rule: an entrypoint given by the service drops the image's command. */
export function processArgs(spec: ContainerSpec, image: ImageProcess): string[] {
  const replaced = spec.command.length > 0;
  const entrypoint = replaced ? spec.command : image.entrypoint;
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
    ['HOME', home],
  ]);
  for (const line of [...image.env, ...spec.env]) {
    const equals = line.indexOf('=');
    if (equals < 0) env.delete(line);
    else env.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return [...env].map(([key, value]) => `${key}=${value}`);
}

function defaultMounts(): OciMount[] {
  const none = ['nosuid', 'noexec', 'nodev'];
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
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...none, 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...none, 'relatime', 'ro'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: none },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: [...none, 'mode=1777', 'size=65536k'] },
  ];
}

function tmpfsMounts(spec: ContainerSpec): OciMount[] {
  return spec.mounts.flatMap((mount) => {
    if (mount.kind !== 'tmpfs') return [];
    const options = ['nosuid', 'nodev', 'noexec', `mode=${(mount.mode ?? 0o1777).toString(8)}`];
    if (mount.sizeBytes !== undefined) options.push(`size=${mount.sizeBytes}`);
    if (mount.readOnly) options.push('ro');
    return [{ destination: mount.target, type: 'tmpfs', source: 'tmpfs', options }];
  });
}

function bindMount(bind: BindMount): OciMount {
  return { destination: bind.target, type: 'bind', source: bind.source, options: [...bind.options] };
}

function rlimits(spec: ContainerSpec): { type: string; soft: number; hard: number }[] {
  return (spec.ulimits ?? []).map((limit) => ({
    type: `RLIMIT_${limit.name.toUpperCase()}`,
    soft: limit.soft,
    hard: limit.hard,
  }));
}

/** CPU as a quota over the usual period of 100 ms (cgroup v1 cfs_quota_us, v2 cpu.max). */
function resources(limits: ResourceAmounts, reservations: ResourceAmounts): OciResources {
  const periodUs = 100_000;
  const cpu = limits.nanoCpus
    ? { quota: Math.round((limits.nanoCpus * periodUs) / 1e9), period: periodUs }
    : undefined;
  const memory = {
    ...(limits.memoryBytes ? { limit: limits.memoryBytes } : {}),
    ...(reservations.memoryBytes ? { reservation: reservations.memoryBytes } : {}),
  };
  return {
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(cpu ? { cpu } : {}),
    ...(limits.pids ? { pids: { limit: limits.pids } } : {}),
  };
}
