/** A container as its node describes it -> the Docker Engine API's summary and inspection. */
import {
  nodeNetworkId,
  type MountSpec,
  type ServiceSpec,
  type TaskStatus,
} from '../../../shared/model/index.ts';
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import { defined, timeText } from './common.ts';

export interface PlacedContainer extends ContainerInfo {
  readonly nodeId: string;
}

/** What the store knows of a container besides. */
export interface ContainerFacts {
  /** The spec that it was made from; undefined once its service is gone. */
  readonly spec: ServiceSpec | undefined;
  /** Ports of mode host. */
  readonly hostPorts: NonNullable<TaskStatus['hostPorts']>;
  readonly networkName: (id: string) => string;
}

/** What Docker puts on every task's container; tools find containers of a service by these. */
export function containerLabels(container: PlacedContainer): Record<string, string> {
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
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: container.image,
    ImageID: container.imageId,
    Command: [container.path, ...container.args].join(' '),
    Created: Math.floor(container.createdAtMs / 1000),
    Ports: facts.hostPorts.map((port) => ({
      IP: '0.0.0.0',
      PrivatePort: port.targetPort,
      PublicPort: port.publishedPort,
      Type: port.protocol,
    })),
    Labels: containerLabels(container),
    State: container.state,
    Status: statusText(container, nowMs),
    HostConfig: { NetworkMode: networkMode(facts) },
    NetworkSettings: { Networks: encodeNetworks(container, facts) },
    Mounts: [],
  };
}

function networkMode({ spec }: ContainerFacts): string {
  return spec?.container.runtime?.network ?? 'default';
}

function encodeNetworks(container: PlacedContainer, facts: ContainerFacts): Record<string, object> {
  const own = facts.spec?.container.runtime?.network;
  if (own !== undefined) return { [own]: { NetworkID: nodeNetworkId(own), IPAddress: '', Aliases: [] } };
  return Object.fromEntries(
    container.networks.map((n) => [
      facts.networkName(n.network),
      { NetworkID: n.network, IPAddress: n.address, Aliases: [] },
    ]),
  );
}

/** "Up 5 minutes (healthy)", "Exited (1) 2 hours ago", as docker ps shows it. */
export function statusText(container: ContainerInfo, nowMs: number): string {
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

/** As go-units' HumanDuration words it. */
export function elapsedText(elapsedMs: number): string {
  const seconds = Math.max(0, Math.floor(elapsedMs / 1000));
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / 3600);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(seconds / 3600 / 24 / 365)} years`;
}

export function encodeInspection(container: PlacedContainer, facts: ContainerFacts): object {
  const { spec } = facts;
  const paused = container.state === 'paused';
  const running = container.state === 'running' || paused;
  return {
    Id: container.id,
    Created: timeText(container.createdAtMs),
    Path: container.path,
    Args: container.args,
    State: defined({
      Status: container.state,
      Running: running,
      Paused: paused,
      Restarting: false,
      OOMKilled: container.oomKilled ?? false,
      Dead: false,
      Pid: running ? container.pid : 0,
      ExitCode: container.exitCode ?? 0,
      Error: container.error ?? '',
      StartedAt: timeText(container.startedAtMs),
      FinishedAt: timeText(container.finishedAtMs),
      Health:
        container.health === undefined ? undefined : { Status: container.health, FailingStreak: 0, Log: [] },
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
      LogConfig: { Type: 'json-file' },
      Memory: spec?.limits.memoryBytes ?? 0,
      NanoCpus: spec?.limits.nanoCpus ?? 0,
    },
    Config: {
      Hostname: container.id.slice(0, 12),
      Image: container.image,
      Env: container.env,
      ...commandOf(container, spec),
      Labels: containerLabels(container),
      // docker logs and attach expect frames unless it is true
      Tty: spec?.container.tty === true,
    },
    NetworkSettings: { Networks: encodeNetworks(container, facts), Ports: portBindings(facts) },
    Node: { ID: container.nodeId },
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

function portBindings({ hostPorts }: ContainerFacts): Record<string, object[]> {
  return Object.fromEntries(
    hostPorts.map((port) => [
      `${port.targetPort}/${port.protocol}`,
      [{ HostIp: '0.0.0.0', HostPort: String(port.publishedPort) }],
    ]),
  );
}
