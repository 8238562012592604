/**
 * ContainerSpec.HostConfig: Shoal's addition to the Docker Engine API, for what compose files can ask and the API has no
 * field for in a service. The fields have the names and the meaning that they have in the API for containers.
 */
import { z } from 'zod';
import { describeError, InvalidError } from '../../../shared/errors/index.ts';
import { diskBytesOf } from '../../../shared/lib/disk-limit.ts';
import type { RuntimeOptions } from '../../../shared/model/index.ts';
import { decodeBlockIo, encodeBlockIo, zBlockIo } from './block-io-codec.ts';
import { decodeServiceProfile, encodeServiceProfile } from './confinement-codec.ts';
import { decodeDeviceRequests, encodeDeviceRequests, zDeviceRequests } from './device-request-codec.ts';
import { defined, given, zFlag, zLabels, zText, zTexts, zUsers, zWhole } from './common.ts';
import { decodeLifecycle, encodeLifecycle, zLifecycle } from './lifecycle-codec.ts';

const zMode = z.enum(['', 'host'], { error: "'host' is expected" }).nullish();

/** -1 is none, as clients send it. */
export const zSwappiness = z.number().int().min(-1).max(100).nullish();

export const zHostConfig = z
  .object({
    Privileged: zFlag,
    Devices: z
      .array(z.object({ PathOnHost: z.string(), PathInContainer: zText, CgroupPermissions: zText }))
      .nullish(),
    DeviceCgroupRules: zTexts,
    DeviceRequests: zDeviceRequests,
    ShmSize: zWhole,
    StorageOpt: zLabels,
    SecurityOpt: zTexts,
    PidMode: zMode,
    IpcMode: zMode,
    UTSMode: zMode,
    CgroupnsMode: zMode,
    UsernsMode: zUsers,
    Domainname: zText,
    CpuShares: zWhole,
    CpuPeriod: zWhole,
    CpusetCpus: zText,
    CpusetMems: zText,
    MaskedPaths: zTexts,
    ReadonlyPaths: zTexts,
    Annotations: zLabels,
    MemorySwap: z.number().int().min(-1).nullish(),
    MemorySwappiness: zSwappiness,
    OomKillDisable: zFlag,
    ...zBlockIo,
    // Not Docker's: of a service it has no way to say it.
    PostStart: zLifecycle,
    PreStop: zLifecycle,
    PullPolicy: z.enum(['', 'missing', 'never']).nullish(),
  })
  .nullish();

/** The fields that a service's HostConfig and a container's have in common. A container's has more modes. */
export type CommonHostConfig = Omit<
  NonNullable<z.output<typeof zHostConfig>>,
  | 'PidMode'
  | 'IpcMode'
  | 'UTSMode'
  | 'CgroupnsMode'
  | 'CpuPeriod'
  | 'SecurityOpt'
  | 'PullPolicy'
  | 'PostStart'
  | 'PreStop'
> &
  Partial<Record<'PidMode' | 'IpcMode' | 'UTSMode' | 'CgroupnsMode', string | null | undefined>>;

export function decodeHostConfig(raw: z.output<typeof zHostConfig>): RuntimeOptions | undefined {
  if (raw === null || raw === undefined) return undefined;
  const options = defined({
    ...decodeCommon(raw),
    appArmorProfile: decodeServiceProfile(raw.SecurityOpt ?? []),
    cpuPeriodUs: given(raw.CpuPeriod),
    postStart: decodeLifecycle(raw.PostStart),
    preStop: decodeLifecycle(raw.PreStop),
    pullPolicy: given(raw.PullPolicy) as RuntimeOptions['pullPolicy'],
  });
  return given(options) as RuntimeOptions | undefined;
}

/** What is not asked for is undefined. */
export function decodeCommon(raw: CommonHostConfig): Partial<Record<keyof RuntimeOptions, unknown>> {
  return {
    privileged: given(raw.Privileged),
    devices: given(raw.Devices)?.map((device) => ({
      source: device.PathOnHost,
      target: given(device.PathInContainer) ?? device.PathOnHost,
      access: given(device.CgroupPermissions) ?? 'rwm',
    })),
    deviceRules: given(raw.DeviceCgroupRules),
    deviceRequests: decodeDeviceRequests(raw.DeviceRequests),
    shmBytes: given(raw.ShmSize),
    diskBytes: diskLimitOf(raw),
    hostPid: hosts(raw.PidMode),
    hostIpc: hosts(raw.IpcMode),
    hostUts: hosts(raw.UTSMode),
    hostCgroup: hosts(raw.CgroupnsMode),
    userNamespace: given(raw.UsernsMode),
    domainname: given(raw.Domainname),
    cpuShares: given(raw.CpuShares),
    cpuset: given(raw.CpusetCpus),
    cpusetMems: given(raw.CpusetMems),
    // An empty list asks for something: nothing is hidden.
    maskedPaths: raw.MaskedPaths ?? undefined,
    readOnlyPaths: raw.ReadonlyPaths ?? undefined,
    annotations: given(raw.Annotations),
    memorySwapBytes: given(raw.MemorySwap),
    memorySwappiness: swappinessOf(raw),
    oomKillDisable: given(raw.OomKillDisable),
    blockIo: decodeBlockIo(raw),
  };
}

function diskLimitOf({ StorageOpt }: CommonHostConfig): number | undefined {
  try {
    return diskBytesOf(StorageOpt ?? {});
  } catch (error) {
    throw new InvalidError(`HostConfig.StorageOpt: ${describeError(error)}`);
  }
}

function swappinessOf({ MemorySwappiness: asked }: CommonHostConfig): number | undefined {
  return asked === -1 ? undefined : (asked ?? undefined);
}

function hosts(mode: string | null | undefined): true | undefined {
  return mode === 'host' ? true : undefined;
}

export function encodeHostConfig(options: RuntimeOptions): object {
  const mode = (host: boolean | undefined): string | undefined => (host === true ? 'host' : undefined);
  return defined({
    Privileged: options.privileged,
    Devices: options.devices?.map(({ source, target, access }) => ({
      PathOnHost: source,
      PathInContainer: target,
      CgroupPermissions: access,
    })),
    DeviceCgroupRules: options.deviceRules,
    DeviceRequests: encodeDeviceRequests(options.deviceRequests),
    ShmSize: options.shmBytes,
    SecurityOpt: encodeServiceProfile(options.appArmorProfile),
    StorageOpt: options.diskBytes === undefined ? undefined : { size: String(options.diskBytes) },
    PidMode: mode(options.hostPid),
    IpcMode: mode(options.hostIpc),
    UTSMode: mode(options.hostUts),
    CgroupnsMode: mode(options.hostCgroup),
    UsernsMode: options.userNamespace,
    Domainname: options.domainname,
    CpuShares: options.cpuShares,
    CpuPeriod: options.cpuPeriodUs,
    CpusetCpus: options.cpuset,
    CpusetMems: options.cpusetMems,
    MaskedPaths: options.maskedPaths,
    ReadonlyPaths: options.readOnlyPaths,
    Annotations: options.annotations,
    MemorySwap: options.memorySwapBytes,
    MemorySwappiness: options.memorySwappiness,
    OomKillDisable: options.oomKillDisable,
    ...encodeBlockIo(options.blockIo),
    PostStart: encodeLifecycle(options.postStart),
    PreStop: encodeLifecycle(options.preStop),
    PullPolicy: options.pullPolicy,
  });
}

/** Passes a request that says something about HostConfig, be it null. */
export const zNamesHostConfig = z.object({
  TaskTemplate: z.object({
    ContainerSpec: z.object({ HostConfig: z.union([z.object({}), z.null()]) }),
  }),
});
