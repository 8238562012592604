/** A container as its node describes it -> the Docker Engine API's summary and inspection. */
import { boundPorts, listedPorts } from './port-addresses.ts';
import {
  nodeNetworkId,
  type MountSpec,
  type ServiceSpec,
  type TaskStatus,
} from '../../../shared/model/index.ts';
import { confinementOf, confinementOptions } from '../../../shared/lib/confinement.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import type { ContainerState, StoredContainer } from '../ops/container-reads.ts';
import { defined, timeText } from './common.ts';
import { elapsedText } from './elapsed-text.ts';
import {
  encodeAskedConfig,
  encodeAskedHost,
  encodeEndpoints,
  encodeMounts,
  encodeNetworkSettings,
  encodePortList,
  shownPorts,
  singleStatusText,
} from './standalone-codec.ts';

export interface PlacedContainer extends Omit<ContainerInfo, 'state'> {
  readonly nodeId: string;
  readonly state: ContainerState;
  /** It can not say what became of the container. */
  readonly nodeIsDown?: boolean;
  /** Of a single container: what the store knows. */
  readonly stored?: StoredContainer;
}

/** What the store knows of a container besides. */
export interface ContainerFacts {
  /** The spec that it was made from; undefined once its service is gone. */
  readonly spec: ServiceSpec | undefined;
  /** Ports of mode host. */
  readonly hostPorts: NonNullable<TaskStatus['hostPorts']>;
  /** Published ports answer on its node's IPv6 addresses, too. */
  readonly ipv6: boolean;
  readonly networkName: (id: string) => string;
  /** Its gateway, the length of its prefix, and the same of IPv6 in the API's words if the network has it. */
  readonly subnet: (
    id: string,
    address: string,
  ) => { readonly gateway: string; readonly bits: number; readonly ipv6?: object } | undefined;
}

/** What Docker puts on every task's container; tools find containers of a service by these. */
export function containerLabels(container: PlacedContainer): Record<string, string> {
  if (container.stored !== undefined) return { ...container.labels };
  return {
    ...container.labels,
    'com.docker.swarm.node.id': container.nodeId,
    'com.docker.swarm.service.id': container.serviceId,
    'com.docker.swarm.service.name': container.serviceName,
    'com.docker.swarm.task': '',
    'com.docker.swarm.task.id': container.taskId,
    'com.docker.swarm.task.name': container.name,
  };
}

export function encodeSummary(container: PlacedContainer, facts: ContainerFacts, nowMs: number): object {
  const { stored } = container;
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.image,
    ImageID: container.imageId,
    Command: [container.path, ...container.args].join(' '),
    Created: Math.floor(container.createdAtMs / 1000),
    Ports: listedPorts(facts.hostPorts, facts.ipv6),
    Labels: containerLabels(container),
    State: container.state,
    Status: statusText(container, nowMs),
    HostConfig: { NetworkMode: networkMode(facts) },
    NetworkSettings: { Networks: encodeNetworks(container, facts) },
    Mounts: [],
    ...(stored === undefined ? {} : singleSummary(container, stored, facts)),
  };
}

function singleSummary(container: PlacedContainer, stored: StoredContainer, facts: ContainerFacts): object {
  return {
    Ports: encodePortList(shownPorts(container, stored), facts.ipv6),
    HostConfig: { NetworkMode: encodeAskedHost(stored)['NetworkMode'] },
    NetworkSettings: { Networks: encodeEndpoints(container, stored, facts) },
    Mounts: encodeMounts(container, stored),
  };
}

function networkMode({ spec }: ContainerFacts): string {
  return spec?.container.runtime?.network ?? 'default';
}

function encodeNetworks(container: PlacedContainer, facts: ContainerFacts): Record<string, object> {
  const own = facts.spec?.container.runtime?.network;
  if (own !== undefined) return { [own]: { NetworkID: nodeNetworkId(own), IPAddress: '', Aliases: [] } };
  return Object.fromEntries(
    container.networks.map(({ network, address }) => {
      const subnet = address === '' ? undefined : facts.subnet(network, address);
      const { gateway = '', bits = 0, ipv6 = {} } = subnet ?? {};
      const own = { IPAddress: address, IPPrefixLen: bits, Gateway: gateway, ...ipv6 };
      return [facts.networkName(network), { NetworkID: network, Aliases: [], ...own }];
    }),
  );
}

/** "Up 5 minutes (healthy)", "Exited (1) 2 hours ago", as docker ps shows it. */
export function statusText(container: PlacedContainer, nowMs: number): string {
  const single = singleStatusText(container, nowMs);
  if (single !== undefined) return single;
  if (container.state === 'created') return 'Created';
  if (container.state === 'running' || container.state === 'paused') {
    const health = container.health === undefined ? '' : ` (${healthText(container.health)})`;
    const paused = container.state === 'paused' ? ' (Paused)' : '';
    return `Up ${elapsedText(nowMs - (container.startedAtMs ?? nowMs))}${paused || health}`;
  }
  return `Exited (${container.exitCode ?? 0}) ${elapsedText(nowMs - (container.finishedAtMs ?? nowMs))} ago`;
}

function healthText(health: 'starting' | 'healthy' | 'unhealthy'): string {
  return health === 'starting' ? 'health: starting' : health;
}

export function encodeInspection(container: PlacedContainer, facts: ContainerFacts): object {
  const { spec } = facts;
  const { stored } = container;
  const paused = container.state === 'paused';
  const restarting = container.state === 'restarting';
  const running = container.state === 'running' || paused || restarting;
  return {
    Id: container.id,
    Created: timeText(container.createdAtMs),
    Path: container.path,
    Args: container.args,
    State: defined({
      Status: container.state,
      Running: running,
      Paused: paused,
      Restarting: restarting,
      OOMKilled: container.oomKilled ?? false,
      Dead: container.state === 'dead',
      Pid: running ? container.pid : 0,
      ExitCode: container.exitCode ?? 0,
      Error: container.error ?? '',
      StartedAt: timeText(container.startedAtMs),
      FinishedAt: timeText(container.finishedAtMs),
      Health: healthOf(container),
    }),
    Image: container.imageId,
    LogPath: container.logPath,
    Name: `/${container.name}`,
    RestartCount: 0,
    Driver: 'overlay2',
    Platform: 'linux',
    Mounts: (spec?.container.mounts ?? []).map(encodeMountPoint),
    HostConfig: {
      NetworkMode: networkMode(facts),
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: spec?.logDriver?.name ?? 'json-file', Config: spec?.logDriver?.options ?? {} },
      Memory: spec?.limits.memoryBytes ?? 0,
      NanoCpus: spec?.limits.nanoCpus ?? 0,
      ...securityOptions(spec),
      ...(spec?.container.init === undefined ? {} : { Init: spec.container.init }),
    },
    Config: {
      Hostname: container.id.slice(0, 12),
      Image: container.image,
      Env: container.env,
      ...commandOf(container, spec),
      Labels: containerLabels(container),
      // docker logs and attach expect frames unless it is true
      Tty: container.tty === true,
      OpenStdin: container.openStdin === true,
      StdinOnce: container.stdinOnce === true,
    },
    NetworkSettings: {
      Networks: encodeNetworks(container, facts),
      Ports: boundPorts(facts.hostPorts, facts.ipv6),
    },
    MountLabel: container.mountLabel ?? '',
    ProcessLabel: container.processLabel ?? '',
    AppArmorProfile: container.apparmorProfile ?? '',
    Node: { ID: container.nodeId },
    ...(stored === undefined ? {} : singleInspection(container, stored, facts)),
  };
}

/** Of a service's task, whose request was another. */
function securityOptions(spec: ServiceSpec | undefined): { SecurityOpt?: string[] } {
  const options = spec === undefined ? [] : confinementOptions(confinementOf(spec.container));
  return options.length === 0 ? {} : { SecurityOpt: options };
}

function healthOf({ health, probes }: PlacedContainer): object | undefined {
  if (health === undefined) return undefined;
  const log = (probes?.log ?? []).map(({ startMs, endMs, exitCode, output }) => ({
    Start: timeText(startMs),
    End: timeText(endMs),
    ExitCode: exitCode,
    Output: output,
  }));
  return { Status: health, FailingStreak: probes?.failures ?? 0, Log: log };
}

function singleInspection(
  container: PlacedContainer,
  stored: StoredContainer,
  facts: ContainerFacts,
): object {
  return {
    RestartCount: stored.task?.run?.restarts ?? 0,
    Mounts: encodeMounts(container, stored),
    HostConfig: encodeAskedHost(stored),
    Config: encodeAskedConfig(container, stored),
    NetworkSettings: encodeNetworkSettings(container, stored, facts),
    ExecIDs: null,
    HostnamePath: '',
    HostsPath: '',
    ResolvConfPath: '',
    GraphDriver: { Name: 'overlay2', Data: null },
  };
}

/** The entrypoint is what the service gave; without one, the program alone. */
function commandOf(container: PlacedContainer, spec: ServiceSpec | undefined): object {
  const all = [container.path, ...container.args];
  const length = Math.max(1, spec?.container.command.length ?? 0);
  return { Entrypoint: all.slice(0, length), Cmd: all.slice(length) };
}

function encodeMountPoint(mount: MountSpec): object {
  const source = mount.kind === 'tmpfs' ? '' : mount.source;
  return defined({
    Type: mount.kind,
    Name: mount.kind === 'volume' ? source : undefined,
    Source: source,
    Destination: mount.target,
    Mode: '',
    RW: mount.kind === 'tmpfs' || !mount.readOnly,
    Propagation: '',
  });
}
