/**
 * The part of the OCI runtime-spec's config.json that the native library implements
 * (https://github.com/opencontainers/runtime-spec). It refuses the rest by name: ENOTSUP, step `config`.
 */
import type { ResolvedSeccomp } from '../../shared/lib/seccomp-profile.ts';

export interface OciUser {
  uid: number;
  gid: number;
  umask?: number;
  additionalGids?: number[];
}

export interface OciProcess {
  /** Of a container: a terminal of its own devpts. A session asks for one in its request. */
  terminal?: boolean;
  /** The terminal's first size, in characters. */
  consoleSize?: { height: number; width: number };
  user: OciUser;
  /** args[0] is looked up in the PATH of env, in the container. */
  args: string[];
  env?: string[];
  /** Absolute; made if it is missing. */
  cwd: string;
  capabilities?: {
    bounding?: string[];
    effective?: string[];
    permitted?: string[];
    inheritable?: string[];
    ambient?: string[];
  };
  /** -1, and anything beyond 2^63, is "unlimited". */
  rlimits?: { type: string; soft: number; hard: number }[];
  noNewPrivileges?: boolean;
  oomScoreAdj?: number;
  /** Of AppArmor, by its name; it must be loaded. */
  apparmorProfile?: string;
  selinuxLabel?: string;
}

export interface OciMount {
  destination: string;
  /** A file system type; `bind`; `x-layers`: the layers among the options, merged; `cgroup` gives the container's own cgroups, v1 or v2 as the host has them. */
  type?: string;
  source?: string;
  options?: string[];
}

export type OciSeccomp = ResolvedSeccomp & {
  /** Not OCI's: no file can be taken out of the limit of the container's disk. */
  keepsProjects?: true;
};

export interface OciDevice {
  path: string;
  /** c, u, b or p. */
  type: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface OciDeviceRate {
  major: number;
  minor: number;
  rate: number;
}

export interface OciResources {
  /** Bytes; swap counts memory and swap together; -1 is no limit. */
  memory?: {
    limit?: number;
    swap?: number;
    reservation?: number;
    swappiness?: number;
    disableOOMKiller?: boolean;
  };
  /** quota and period in microseconds. */
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  /** Weights from 10 to 1000; rates of bytes or operations a second, 0 is no limit. */
  blockIO?: {
    weight?: number;
    weightDevice?: { major: number; minor: number; weight: number }[];
    throttleReadBpsDevice?: OciDeviceRate[];
    throttleWriteBpsDevice?: OciDeviceRate[];
    throttleReadIOPSDevice?: OciDeviceRate[];
    throttleWriteIOPSDevice?: OciDeviceRate[];
  };
  /** 0 or less is no limit. */
  pids?: { limit: number };
  /** Everything but the usual devices and those of `linux.devices` is denied first. */
  devices?: { allow: boolean; type?: string; major?: number; minor?: number; access?: string }[];
}

/** Ids of a container from containerID on are those of the node from hostID on. */
export interface OciIdRange {
  containerID: number;
  hostID: number;
  size: number;
}

/** A program of the node. */
export interface OciHook {
  path: string;
  args?: string[];
  env?: string[];
  /** Seconds. */
  timeout?: number;
}

/** The library runs the first three, and refuses others: when all is mounted, and nothing of the container runs. */
export type OciHooks = Partial<
  Record<
    'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop',
    OciHook[]
  >
>;

export interface OciConfig {
  ociVersion: string;
  hostname?: string;
  domainname?: string;
  root?: { path: string; readonly?: boolean };
  process: OciProcess;
  mounts?: OciMount[];
  annotations?: Readonly<Record<string, string>>;
  /** Not with a user namespace: there the root is nowhere on the node. */
  hooks?: OciHooks;
  linux: {
    /**
     * pid, network, mount, ipc, uts, cgroup, user, time. A type that is not listed is the host's; mount is always
     * needed. With `user` the root, and binds with the option `idmap` or `ridmap`, have owners in the container's ids.
     */
    namespaces: { type: string; path?: string }[];
    uidMappings?: OciIdRange[];
    gidMappings?: OciIdRange[];
    timeOffsets?: Partial<Record<'monotonic' | 'boottime', { secs?: number; nanosecs?: number }>>;
    sysctl?: Record<string, string>;
    /** Absolute, e.g. /shoal/node/id; parents are made and stay. */
    cgroupsPath: string;
    resources?: OciResources;
    devices?: OciDevice[];
    seccomp?: OciSeccomp;
    maskedPaths?: string[];
    readonlyPaths?: string[];
    rootfsPropagation?: string;
    /** SELinux's, of the files of what is mounted anew: the root, tmpfs and the like. */
    mountLabel?: string;
  };
}
