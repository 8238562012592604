/** TaskTemplate.ContainerSpec of the Docker Engine API <-> ContainerSpec. */
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { ContainerSpec, HealthCheck } from '../../../shared/model/index.ts';
import { defined, given, labelsOf, zFlag, zLabels, zText, zTexts, zWhole } from './common.ts';
import { decodeSelinux, encodeSelinux, zAppArmor, zSelinuxContext } from './confinement-codec.ts';
import {
  decodeConfigReference,
  decodeSecretReference,
  encodeConfigReference,
  encodeSecretReference,
  zConfigReference,
  zSecretReference,
} from './file-codec.ts';
import { decodeHostConfig, encodeHostConfig, zHostConfig } from './host-config-codec.ts';
import { decodeMount, encodeMount, zMount } from './mount-codec.ts';

export const zHealth = z.object({
  Test: zTexts,
  Interval: zWhole,
  Timeout: zWhole,
  StartPeriod: zWhole,
  StartInterval: zWhole,
  Retries: zWhole,
});

export const zContainerSpec = z.object({
  Image: zText,
  Labels: zLabels,
  Command: zTexts,
  Args: zTexts,
  Env: zTexts,
  Dir: zText,
  User: zText,
  Groups: zTexts,
  Hostname: zText,
  ReadOnly: zFlag,
  Init: zFlag,
  TTY: zFlag,
  OpenStdin: zFlag,
  StopSignal: zText,
  StopGracePeriod: zWhole,
  Mounts: z.array(zMount).nullish(),
  Hosts: zTexts,
  DNSConfig: z.object({ Nameservers: zTexts, Search: zTexts, Options: zTexts }).nullish(),
  Healthcheck: zHealth.nullish(),
  CapabilityAdd: zTexts,
  CapabilityDrop: zTexts,
  Sysctls: zLabels,
  Ulimits: z
    .array(z.object({ Name: z.string(), Soft: z.number().int().nullish(), Hard: z.number().int().nullish() }))
    .nullish(),
  Secrets: z.array(zSecretReference).nullish(),
  Configs: z.array(zConfigReference).nullish(),
  Isolation: z.enum(['', 'default']).nullish(),
  Privileges: z
    .object({
      CredentialSpec: z.null().optional(),
      SELinuxContext: zSelinuxContext,
      // The profile of mode custom is base64.
      Seccomp: z
        .object({
          Mode: z.enum(['', 'default', 'unconfined', 'custom']).nullish(),
          Profile: z.base64().nullish(),
        })
        .nullish(),
      // Neither is a profile: which one a service has is in its HostConfig.
      AppArmor: zAppArmor,
      NoNewPrivileges: zFlag,
    })
    .nullish(),
  OomScoreAdj: z.number().int().min(-1000).max(1000).nullish(),
  HostConfig: zHostConfig,
});

type RawContainer = z.output<typeof zContainerSpec>;

export function decodeContainerSpec(raw: RawContainer): ContainerSpec {
  return defined({
    image: raw.Image ?? '',
    labels: labelsOf(raw.Labels),
    command: raw.Command ?? [],
    args: raw.Args ?? [],
    env: raw.Env ?? [],
    workingDir: given(raw.Dir),
    user: given(raw.User),
    groups: given(raw.Groups),
    hostname: given(raw.Hostname),
    readOnlyRoot: given(raw.ReadOnly),
    // False differs from absent: it turns a node's default off.
    init: raw.Init ?? undefined,
    tty: given(raw.TTY),
    openStdin: given(raw.OpenStdin),
    stopSignal: given(raw.StopSignal),
    stopGraceNs: raw.StopGracePeriod ?? undefined,
    mounts: (raw.Mounts ?? []).map(decodeMount),
    extraHosts: given((raw.Hosts ?? []).flatMap(decodeHosts)),
    dns: decodeDns(raw.DNSConfig),
    healthCheck: decodeHealth(raw.Healthcheck),
    capAdd: given(raw.CapabilityAdd),
    capDrop: given(raw.CapabilityDrop),
    sysctls: given(raw.Sysctls),
    ulimits: given(raw.Ulimits)?.map((u) => ({ name: u.Name, soft: u.Soft ?? 0, hard: u.Hard ?? 0 })),
    secrets: given(raw.Secrets)?.map(decodeSecretReference),
    configs: given(raw.Configs)?.map(decodeConfigReference),
    noNewPrivileges: given(raw.Privileges?.NoNewPrivileges),
    seccompUnconfined: raw.Privileges?.Seccomp?.Mode === 'unconfined' ? true : undefined,
    seccompProfile: decodeSeccomp(raw.Privileges),
    selinux: decodeSelinux(raw.Privileges?.SELinuxContext),
    oomScoreAdj: given(raw.OomScoreAdj),
    runtime: decodeHostConfig(raw.HostConfig),
  }) as ContainerSpec;
}

function decodeSeccomp(privileges: RawContainer['Privileges']): string | undefined {
  const { Mode, Profile } = privileges?.Seccomp ?? {};
  const profile = given(Profile);
  if (Mode !== 'custom' && profile !== undefined) {
    throw new InvalidError('ContainerSpec.Privileges.Seccomp.Profile: goes with Mode custom');
  }
  if (Mode === 'custom' && profile === undefined) {
    throw new InvalidError('ContainerSpec.Privileges.Seccomp: Mode custom needs a Profile');
  }
  return profile === undefined ? undefined : Buffer.from(profile, 'base64').toString();
}

/** "address name [alias...]" as in hosts(5) -> "name:address" each. */
function decodeHosts(line: string): string[] {
  const [address, ...names] = line.trim().split(/\s+/);
  if (address === undefined || address === '' || names.length === 0) {
    throw new InvalidError(`ContainerSpec.Hosts: '${line}': "address name" is expected`);
  }
  return names.map((name) => `${name}:${address}`);
}

function encodeHost(entry: string): string {
  const at = entry.indexOf(':');
  return `${entry.slice(at + 1)} ${entry.slice(0, at)}`;
}

function decodeDns(raw: RawContainer['DNSConfig']): ContainerSpec['dns'] {
  const dns = {
    nameservers: raw?.Nameservers ?? [],
    search: raw?.Search ?? [],
    options: raw?.Options ?? [],
  };
  return dns.nameservers.length + dns.search.length + dns.options.length === 0 ? undefined : dns;
}

export function decodeHealth(raw: RawContainer['Healthcheck']): HealthCheck | undefined {
  if (raw === null || raw === undefined) return undefined;
  return {
    test: raw.Test ?? [],
    intervalNs: raw.Interval ?? 0,
    timeoutNs: raw.Timeout ?? 0,
    startPeriodNs: raw.StartPeriod ?? 0,
    startIntervalNs: raw.StartInterval ?? 0,
    retries: raw.Retries ?? 0,
  };
}

/** With what the CLI expects to find: it panics without some of the fields. */
export function encodeContainerSpec(spec: ContainerSpec): object {
  return defined({
    Image: spec.image,
    Labels: spec.labels,
    Command: given(spec.command),
    Args: given(spec.args),
    Env: given(spec.env),
    Dir: spec.workingDir,
    User: spec.user,
    Groups: spec.groups,
    Hostname: spec.hostname,
    ReadOnly: spec.readOnlyRoot,
    Init: spec.init,
    TTY: spec.tty,
    OpenStdin: spec.openStdin,
    StopSignal: spec.stopSignal,
    StopGracePeriod: spec.stopGraceNs,
    Mounts: given(spec.mounts)?.map(encodeMount),
    Hosts: spec.extraHosts?.map(encodeHost),
    DNSConfig:
      spec.dns === undefined
        ? {}
        : { Nameservers: spec.dns.nameservers, Search: spec.dns.search, Options: spec.dns.options },
    Healthcheck: encodeHealth(spec.healthCheck),
    CapabilityAdd: spec.capAdd,
    CapabilityDrop: spec.capDrop,
    Sysctls: spec.sysctls,
    Ulimits: spec.ulimits?.map((u) => ({ Name: u.name, Soft: u.soft, Hard: u.hard })),
    Secrets: spec.secrets?.map(encodeSecretReference),
    Configs: spec.configs?.map(encodeConfigReference),
    Isolation: 'default',
    Privileges: encodePrivileges(spec),
    OomScoreAdj: spec.oomScoreAdj,
    HostConfig: spec.runtime === undefined ? undefined : given(encodeHostConfig(spec.runtime)),
  });
}

function encodePrivileges(spec: ContainerSpec): object | undefined {
  return given(
    defined({
      NoNewPrivileges: spec.noNewPrivileges,
      Seccomp: encodeSeccomp(spec),
      SELinuxContext: encodeSelinux(spec.selinux),
    }),
  );
}

function encodeSeccomp({ seccompUnconfined, seccompProfile }: ContainerSpec): object | undefined {
  if (seccompUnconfined === true) return { Mode: 'unconfined' };
  if (seccompProfile === undefined) return undefined;
  return { Mode: 'custom', Profile: Buffer.from(seccompProfile).toString('base64') };
}

function encodeHealth(check: HealthCheck | undefined): object | undefined {
  if (check === undefined) return undefined;
  return defined({
    Test: given(check.test),
    Interval: given(check.intervalNs),
    Timeout: given(check.timeoutNs),
    StartPeriod: given(check.startPeriodNs),
    StartInterval: given(check.startIntervalNs),
    Retries: given(check.retries),
  });
}
