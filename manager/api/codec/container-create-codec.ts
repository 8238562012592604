/** POST /containers/create -> the spec of the hidden service that a single container is. */
import { z } from 'zod';
import { InvalidError, UnsupportedError } from '../../../shared/errors/index.ts';
import { isConfinement } from '../../../shared/lib/confinement.ts';
import { readLogDriver } from '../../../shared/lib/log-driver.ts';
import {
  type ContainerRequest,
  type ContainerSpec,
  DEFAULT_UPDATE,
  type ResourceAmounts,
  type RestartPolicy,
  type ServiceSpec,
} from '../../../shared/model/index.ts';
import { parseStrict } from '../http/unsupported.ts';
import { refuseAllowFrom } from '../ops/allow-lists.ts';
import { defined, given, labelsOf } from './common.ts';
import { decodeConfinement } from './confinement-codec.ts';
import { decodeHealth } from './container-spec-codec.ts';
import { decodeCommon } from './host-config-codec.ts';
import {
  type RawCreate,
  type RawHostConfig,
  type RawRestartPolicy,
  REFUSED,
  zCreate,
} from './container-create-schema.ts';
import { decodeMounts } from './container-mounts-codec.ts';
import { decodeNetworks, decodePorts, parsePort, peerOf } from './container-network-codec.ts';

/** Classic Swarm's label: a JSON list of constraints, which the scheduler takes as it takes a service's. */
export const CONSTRAINTS_LABEL = 'com.docker.swarm.constraints';

export interface DecodedContainer {
  /** Without its name and mode, which the manager gives. Networks and containers are as the client named them. */
  readonly spec: Omit<ServiceSpec, 'name' | 'mode'>;
  readonly autoRemove: boolean;
  /** Publish what the image exposes, too (-P). */
  readonly publishAll: boolean;
  /** `80/tcp`, as the client exposes them. */
  readonly exposed: readonly string[];
  /** `container[:ro]` */
  readonly volumesFrom: readonly string[];
  readonly asked: ContainerRequest;
  readonly warnings: readonly string[];
}

/** Throws InvalidError, or UnsupportedError that names the fields that Shoal does not have. */
export function decodeContainer(value: unknown): DecodedContainer {
  const raw = parseStrict(zCreate, value, 'container', REFUSED);
  const host = raw.HostConfig ?? {};
  const { networks, nodeNetwork, networkOf, macAddress } = decodeNetworks(raw, host);
  const autoRemove = host.AutoRemove === true;
  const restart = decodeContainerRestart(host.RestartPolicy);
  if (autoRemove && restart.condition !== 'none')
    throw new InvalidError("can't create 'AutoRemove' container with restart policy");
  if ((raw.Image ?? '') === '') throw new InvalidError('Image: the name of an image is missing');
  const ports = decodePorts(host);
  const exposed = Object.keys(raw.ExposedPorts ?? {});
  for (const text of exposed) parsePort(text);
  const runtime = given(
    defined({
      ...decodeCommon({ ...host, Domainname: raw.Domainname }),
      cpuPeriodUs: given(host.CpuPeriod),
      network: nodeNetwork,
      macAddress,
      networkOf,
      pidOf: peerOf(host.PidMode),
      ipcOf: peerOf(host.IpcMode),
      appArmorProfile: decodeConfinement(host.SecurityOpt ?? []).appArmorProfile,
      ipcShareable: host.IpcMode === 'shareable' ? true : undefined,
    }),
  );
  refuseAllowFrom(labelsOf(raw.Labels));
  const container = { ...containerSpec(raw, host), ...(runtime === undefined ? {} : { runtime }) };
  const spec: DecodedContainer['spec'] = {
    labels: {},
    container: container as ContainerSpec,
    limits: limitsOf(host),
    reservations: defined({ memoryBytes: given(host.MemoryReservation) }) as ResourceAmounts,
    restart,
    placement: { constraints: constraintsOf(raw), spread: [], maxReplicasPerNode: 0 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    networks,
    endpointMode: 'dnsrr',
    ports: nodeNetwork === undefined ? ports : [],
    forceUpdate: 0,
    ...logDriverOf(host),
  };
  const { HostConfig: _, NetworkingConfig: _networks, name: _name, platform: _platform, ...config } = raw;
  return {
    spec,
    autoRemove,
    publishAll: host.PublishAllPorts === true && nodeNetwork === undefined,
    exposed,
    volumesFrom: host.VolumesFrom ?? [],
    asked: { config, hostConfig: host },
    warnings: warningsOf(host, nodeNetwork),
  };
}

function containerSpec(raw: RawCreate, host: RawHostConfig): object {
  return defined({
    image: raw.Image ?? '',
    labels: labelsOf(raw.Labels),
    command: wordsOf(raw.Entrypoint),
    args: wordsOf(raw.Cmd),
    env: raw.Env ?? [],
    workingDir: given(raw.WorkingDir),
    user: given(raw.User),
    groups: given(host.GroupAdd),
    hostname: given(raw.Hostname),
    readOnlyRoot: given(host.ReadonlyRootfs),
    init: host.Init ?? undefined,
    tty: given(raw.Tty),
    openStdin: given(raw.OpenStdin),
    stdinOnce: given(raw.StdinOnce),
    consoleSize: consoleSizeOf(host.ConsoleSize),
    stopSignal: given(raw.StopSignal),
    stopGraceNs:
      raw.StopTimeout === null || raw.StopTimeout === undefined ? undefined : raw.StopTimeout * 1e9,
    mounts: decodeMounts(raw, host),
    extraHosts: given(host.ExtraHosts),
    dns: dnsOf(host),
    healthCheck: decodeHealth(raw.Healthcheck),
    capAdd: given(host.CapAdd),
    capDrop: given(host.CapDrop),
    sysctls: given(host.Sysctls),
    ulimits: given(host.Ulimits)?.map((u) => ({ name: u.Name, soft: u.Soft ?? 0, hard: u.Hard ?? 0 })),
    oomScoreAdj: given(host.OomScoreAdj),
    ...securityOf(host.SecurityOpt ?? []),
  });
}

/** Height and width; zeroes are a client's word for none. */
function consoleSizeOf(size: RawHostConfig['ConsoleSize']): ContainerSpec['consoleSize'] {
  const [rows = 0, columns = 0] = size ?? [];
  return rows > 0 && columns > 0 ? { rows, columns } : undefined;
}

/** [''] resets an image's entrypoint, as `--entrypoint ""` sends it. */
function wordsOf(command: RawCreate['Cmd']): string[] {
  if (command === null || command === undefined || command === '') return [];
  return typeof command === 'string' ? [command] : command;
}

function dnsOf(host: RawHostConfig): ContainerSpec['dns'] {
  const dns = {
    nameservers: host.Dns ?? [],
    search: host.DnsSearch ?? [],
    options: host.DnsOptions ?? [],
  };
  return dns.nameservers.length + dns.search.length + dns.options.length === 0 ? undefined : dns;
}

const SO_ANYWAY: readonly string[] = ['no-new-privileges=false', 'seccomp=builtin'];

/** Options of --security-opt, but for the AppArmor profile. */
function securityOf(
  options: readonly string[],
): Pick<ContainerSpec, 'noNewPrivileges' | 'seccompUnconfined' | 'seccompProfile' | 'selinux'> {
  const found: { noNewPrivileges?: boolean; seccompUnconfined?: boolean; seccompProfile?: string } = {};
  const { selinux } = decodeConfinement(options);
  for (const option of options) {
    if (isConfinement(option)) continue;
    // The client sends the file's content.
    const profile = /^seccomp[=:](\{.*)$/s.exec(option)?.[1];
    if (profile !== undefined) {
      found.seccompProfile = profile;
      continue;
    }
    const text = option.replace(':', '=');
    if (text === 'no-new-privileges' || text === 'no-new-privileges=true') found.noNewPrivileges = true;
    else if (text === 'seccomp=unconfined') found.seccompUnconfined = true;
    else if (!SO_ANYWAY.includes(text))
      throw new UnsupportedError(
        `HostConfig.SecurityOpt: not supported by Shoal: '${option}' ` +
          '(no-new-privileges, seccomp=unconfined, seccomp=FILE, apparmor=PROFILE and label=... are)',
      );
  }
  return { ...found, ...(selinux === undefined ? {} : { selinux }) };
}

/** A quota for a period is a number of processors; 100 ms is the kernel's period (sched-bwc). */
export function limitsOf(
  host: Pick<RawHostConfig, 'NanoCpus' | 'CpuQuota' | 'CpuPeriod' | 'Memory' | 'PidsLimit'>,
) {
  const quota = host.CpuQuota ?? 0;
  if (given(host.NanoCpus) !== undefined && (quota > 0 || given(host.CpuPeriod) !== undefined))
    throw new InvalidError('Conflicting options: Nano CPUs and CPU Quota or Period cannot both be set.');
  const fromQuota = quota > 0 ? Math.round((quota / (given(host.CpuPeriod) ?? 100_000)) * 1e9) : undefined;
  if (!Number.isSafeInteger(fromQuota ?? 0))
    throw new InvalidError(`HostConfig.CpuQuota: ${quota} is too much: a number of microseconds is expected`);
  const pids = host.PidsLimit ?? 0;
  return defined({
    nanoCpus: given(host.NanoCpus) ?? fromQuota,
    memoryBytes: given(host.Memory),
    pids: pids > 0 ? pids : undefined,
  }) as ResourceAmounts;
}

/** `always` and `unless-stopped` differ for a daemon that restarts; what a user stopped stays stopped here. */
export function decodeContainerRestart(raw: RawRestartPolicy): RestartPolicy {
  const retries = raw?.MaximumRetryCount ?? 0;
  if (retries !== 0 && raw?.Name !== 'on-failure')
    throw new InvalidError("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  if (retries < 0) throw new InvalidError('invalid restart policy: maximum retry count cannot be negative');
  const base = { delayNs: 0, windowNs: 0, maxAttempts: retries };
  switch (raw?.Name) {
    case 'always':
    case 'unless-stopped':
      return { ...base, condition: 'any' };
    case 'on-failure':
      return { ...base, condition: 'on-failure' };
    default:
      return { ...base, condition: 'none' };
  }
}

function constraintsOf({ Labels }: RawCreate): string[] {
  const text = Labels?.[CONSTRAINTS_LABEL];
  if (text === undefined) return [];
  const expected = `label ${CONSTRAINTS_LABEL}: a JSON list such as ["node.hostname==n1"] is expected`;
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    throw new InvalidError(`${expected}, not '${text}'`);
  }
}

function logDriverOf({ LogConfig: log }: RawHostConfig): Pick<ServiceSpec, 'logDriver'> {
  const name = given(log?.Type);
  const options = log?.Config ?? {};
  if (name === undefined && Object.keys(options).length === 0) return {};
  const logDriver = { name: name ?? 'json-file', options };
  const [problem] = readLogDriver(logDriver).problems;
  if (problem !== undefined) throw new InvalidError(`HostConfig.LogConfig: ${problem}`);
  return { logDriver };
}

function warningsOf(host: RawHostConfig, nodeNetwork: 'host' | 'none' | undefined): string[] {
  const warnings: string[] = [];
  const log = readLogDriver(logDriverOf(host).logDriver);
  warnings.push(...log.warnings.map((text) => `LogConfig: ${text}`));
  const published = Object.keys(host.PortBindings ?? {}).length > 0 || host.PublishAllPorts === true;
  if (published && nodeNetwork === 'host')
    warnings.push('Published ports are discarded when using host network mode');
  if (host.OomKillDisable === true && given(host.Memory) === undefined)
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  return warnings;
}
