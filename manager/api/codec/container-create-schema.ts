/** The body of POST /containers/create, API 1.24 to 1.47: Config at the top, HostConfig and NetworkingConfig in it. */
import { z } from 'zod';
import type { Reasons } from '../http/unsupported.ts';
import { zBlockIo } from './block-io-codec.ts';
import { zFlag, zLabels, zText, zTexts, zUsers, zWhole } from './common.ts';
import { zHealth } from './container-spec-codec.ts';
import { zDeviceRequests } from './device-request-codec.ts';
import { zSwappiness } from './host-config-codec.ts';
import { zMount } from './mount-codec.ts';

/** A command as a list, or as one word. */
const zCommand = z.union([z.array(z.string()), z.string()]).nullish();
const zInteger = z.number().int().nullish();
/** Names that map to nothing in particular: {"80/tcp": {}}. */
const zSet = z.record(z.string(), z.unknown()).nullish();

const zMode = (...allowed: readonly [string, ...string[]]) =>
  z
    .enum(['', ...allowed], { error: `${allowed.map((mode) => `'${mode}'`).join(' or ')} is expected` })
    .nullish();

/** Or a namespace of another container. */
const zPeerMode = (...allowed: readonly [string, ...string[]]) =>
  z
    .string()
    .refine((mode) => mode === '' || allowed.includes(mode) || /^container:./.test(mode), {
      error: `${allowed.map((mode) => `'${mode}'`).join(', ')} or 'container:NAME' is expected`,
    })
    .nullish();

const zPortBindings = z
  .record(z.string(), z.array(z.object({ HostIp: zText, HostPort: zText })).nullish())
  .nullish();

/** The fields of HostConfig that an update may name too. */
export const zResources = {
  CpuShares: zWhole,
  Memory: zWhole,
  MemoryReservation: zWhole,
  // -1: as much as there is.
  MemorySwap: z.number().int().min(-1).nullish(),
  NanoCpus: zWhole,
  CpuPeriod: zWhole,
  CpuQuota: zInteger,
  CpusetCpus: zText,
  CpusetMems: zText,
  // 0 and -1: no limit.
  PidsLimit: zInteger,
};

export const zRestartPolicy = z
  .object({
    Name: z
      .enum(['', 'no', 'always', 'unless-stopped', 'on-failure'], {
        error: "invalid restart policy: 'no', 'always', 'unless-stopped' or 'on-failure' is expected",
      })
      .nullish(),
    MaximumRetryCount: zInteger,
  })
  .nullish();

export const zHostConfig = z.object({
  ...zResources,
  ...zBlockIo,
  Binds: zTexts,
  Mounts: z.array(zMount).nullish(),
  Tmpfs: zLabels,
  VolumeDriver: zMode('local'),
  VolumesFrom: zTexts,
  PortBindings: zPortBindings,
  PublishAllPorts: zFlag,
  NetworkMode: zText,
  Links: zTexts,
  RestartPolicy: zRestartPolicy,
  AutoRemove: zFlag,
  LogConfig: z.object({ Type: zText, Config: zLabels }).nullish(),
  CapAdd: zTexts,
  CapDrop: zTexts,
  Privileged: zFlag,
  SecurityOpt: zTexts,
  Devices: z
    .array(z.object({ PathOnHost: z.string(), PathInContainer: zText, CgroupPermissions: zText }))
    .nullish(),
  DeviceCgroupRules: zTexts,
  DeviceRequests: zDeviceRequests,
  Ulimits: z.array(z.object({ Name: z.string(), Soft: zInteger, Hard: zInteger })).nullish(),
  Sysctls: zLabels,
  Dns: zTexts,
  DnsOptions: zTexts,
  DnsSearch: zTexts,
  ExtraHosts: zTexts,
  GroupAdd: zTexts,
  Init: zFlag,
  PidMode: zPeerMode('host'),
  IpcMode: zPeerMode('private', 'shareable', 'host'),
  UTSMode: zMode('host'),
  CgroupnsMode: zMode('private', 'host'),
  UsernsMode: zUsers,
  ShmSize: zWhole,
  StorageOpt: zLabels,
  OomScoreAdj: z.number().int().min(-1000).max(1000).nullish(),
  ReadonlyRootfs: zFlag,
  Isolation: zMode('default'),
  // Docker's names for the usual one. Its other low-level runtimes are programs that Shoal does not have.
  Runtime: zMode('runc', 'io.containerd.runc.v2'),
  MemorySwappiness: zSwappiness,
  OomKillDisable: zFlag,
  MaskedPaths: zTexts,
  ReadonlyPaths: zTexts,
  Annotations: zLabels,
  // The client's own affairs.
  ContainerIDFile: zText,
  // The terminal's first size: characters, of which it may have 65,535.
  ConsoleSize: z.array(z.number().int().nonnegative().max(65_535)).nullish(),
});

export const zEndpoint = z
  .object({
    Aliases: zTexts,
    IPAMConfig: z.object({ IPv4Address: zText }).nullish(),
    Links: zTexts,
    MacAddress: zText,
    GwPriority: z.number().int().nullish(),
    // What a network says of an endpoint that is there comes back from clients that copy it.
    NetworkID: zText,
    DNSNames: zTexts,
  })
  .nullish();

export const zCreate = z.object({
  Image: zText,
  Hostname: zText,
  Domainname: zText,
  MacAddress: zText,
  User: zText,
  Env: zTexts,
  Cmd: zCommand,
  Entrypoint: zCommand,
  WorkingDir: zText,
  Labels: zLabels,
  ExposedPorts: zSet,
  Volumes: zSet,
  Tty: zFlag,
  OpenStdin: zFlag,
  StdinOnce: zFlag,
  AttachStdin: zFlag,
  AttachStdout: zFlag,
  AttachStderr: zFlag,
  Healthcheck: zHealth.nullish(),
  StopSignal: zText,
  // Seconds; as nanoseconds it is still a whole number.
  StopTimeout: z.number().int().nonnegative().max(9_000_000).nullish(),
  NetworkDisabled: zFlag,
  // Of builds.
  OnBuild: zTexts,
  Shell: zTexts,
  HostConfig: zHostConfig.nullish(),
  NetworkingConfig: z.object({ EndpointsConfig: z.record(z.string(), zEndpoint).nullish() }).nullish(),
  // dockerode sends its own options along.
  name: zText,
  platform: zText,
});

const WINDOWS = 'it is of Windows';
const REAL_TIME = 'the kernel would want a share set aside in every group above';
const NO_KERNEL_MEMORY = 'kernels have it no more';
const ADDRESS = 'Shoal gives IPv4 addresses, and those of IPv6 by them';

/** Why these fields are refused. */
export const REFUSED: Reasons = {
  ArgsEscaped: WINDOWS,
  CpuCount: WINDOWS,
  CpuPercent: WINDOWS,
  IOMaximumIOps: WINDOWS,
  IOMaximumBandwidth: WINDOWS,
  CgroupParent: 'containers are in the group of their agent, which decides where that is',
  CpuRealtimePeriod: REAL_TIME,
  CpuRealtimeRuntime: REAL_TIME,
  KernelMemory: NO_KERNEL_MEMORY,
  KernelMemoryTCP: NO_KERNEL_MEMORY,
  Cgroup: 'there is no sharing of the control groups of another container',
  DriverOpts: 'options are those of the network',
  IPv6Address: ADDRESS,
  LinkLocalIPs: ADDRESS,
  GlobalIPv6Address: ADDRESS,
};

export type RawCreate = z.output<typeof zCreate>;
export type RawHostConfig = z.output<typeof zHostConfig>;
export type RawRestartPolicy = z.output<typeof zRestartPolicy>;
