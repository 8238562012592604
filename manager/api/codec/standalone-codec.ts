/** A single container as the Docker Engine API shows it: what its client asked for, with what its node made of it. */
import { elapsedText } from './elapsed-text.ts';
import type { ContainerFacts, PlacedContainer } from './container-codec.ts';
import { defined } from './common.ts';
import type { StoredContainer } from '../ops/container-reads.ts';
import { encodeLinks } from './links-codec.ts';
import { boundPorts, listedPorts } from './port-addresses.ts';
import type { ContainerDetails, MountPoint } from '../../../shared/model/node-methods/index.ts';
import {
  INGRESS_NETWORK_ID,
  type MountSpec,
  nodeNetworkId,
  type PublishedPort,
  type TaskAddress,
} from '../../../shared/model/index.ts';
import { networksOf } from '../../plan/allocate/addresses.ts';

/** What Docker shows of a container that was asked for nothing. */
const HOST_DEFAULTS = {
  Binds: null,
  ContainerIDFile: '',
  NetworkMode: 'default',
  PortBindings: {},
  RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: '',
  VolumesFrom: null,
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: 'private',
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: 'private',
  Cgroup: '',
  Links: null,
  OomScoreAdj: 0,
  PidMode: '',
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  UTSMode: '',
  UsernsMode: '',
  ShmSize: 64 * 1024 * 1024,
  Runtime: 'runc',
  Isolation: '',
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: '',
  CpuPeriod: 0,
  CpuQuota: 0,
  CpusetCpus: '',
  CpusetMems: '',
  Devices: [],
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: false,
  PidsLimit: null,
  Ulimits: [],
};

/** HostConfig as it was given, over the defaults. */
export function encodeAskedHost({ revision }: StoredContainer): Record<string, unknown> {
  const { name: Type = 'json-file', options: Config = {} } = revision.spec.logDriver ?? {};
  return {
    ...HOST_DEFAULTS,
    ...withoutBlanks(revision.asked?.hostConfig ?? {}),
    LogConfig: { Type, Config },
  };
}

/** A client's null, '' and 0 are its words for the default. */
function withoutBlanks(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) => value !== null && value !== undefined && value !== '' && value !== 0,
    ),
  );
}

/** Config as it was given, with what the image added. */
export function encodeAskedConfig(container: PlacedContainer, stored: StoredContainer): object {
  const asked = stored.revision.asked?.config ?? {};
  const { details } = container;
  const flag = (name: string): boolean => asked[name] === true;
  return defined({
    ...asked,
    Hostname: details?.hostname ?? asked['Hostname'] ?? '',
    Domainname: details?.domainname ?? '',
    User: details?.user ?? asked['User'] ?? '',
    AttachStdin: flag('AttachStdin'),
    AttachStdout: flag('AttachStdout'),
    AttachStderr: flag('AttachStderr'),
    ExposedPorts: setOf([
      ...portsOf(stored),
      ...(details?.exposedPorts ?? []),
      ...keysOf(asked['ExposedPorts']),
    ]),
    Tty: flag('Tty'),
    OpenStdin: flag('OpenStdin'),
    StdinOnce: flag('StdinOnce'),
    Env: container.env,
    Cmd: details === undefined ? (asked['Cmd'] ?? null) : listOrNull(details.cmd),
    Entrypoint: details === undefined ? (asked['Entrypoint'] ?? null) : listOrNull(details.entrypoint),
    Image: container.image,
    Volumes: setOf([...(details?.volumes ?? []), ...keysOf(asked['Volumes'])]),
    WorkingDir: details?.workingDir ?? asked['WorkingDir'] ?? '',
    OnBuild: null,
    Labels: container.labels,
    StopSignal: details?.stopSignal || undefined,
  });
}

function listOrNull(words: readonly string[]): readonly string[] | null {
  return words.length === 0 ? null : words;
}

function keysOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

function portsOf({ revision }: StoredContainer): string[] {
  return revision.spec.ports.map((port) => `${port.targetPort}/${port.protocol}`);
}

/** {"80/tcp": {}}; undefined for none. */
function setOf(keys: readonly string[]): Record<string, object> | undefined {
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, {}]));
}

/** Published ports as they are now, and those that are exposed only. */
export interface ShownPorts {
  readonly published: readonly PublishedPort[];
  /** `80/tcp` */
  readonly exposed: readonly string[];
}

export function shownPorts(container: PlacedContainer, { service, revision }: StoredContainer): ShownPorts {
  const isUp = container.state === 'running' || container.state === 'paused';
  if (!isUp) return { published: [], exposed: [] };
  const published = service.endpoint?.ports ?? [];
  const taken = new Set(published.map((port) => `${port.targetPort}/${port.protocol}`));
  const exposed = [
    ...(container.details?.exposedPorts ?? []),
    ...keysOf(revision.asked?.config['ExposedPorts']),
  ]
    .map((text) => (text.includes('/') ? text : `${text}/tcp`))
    .filter((text) => !taken.has(text));
  return { published, exposed: [...new Set(exposed)] };
}

/** For lists. */
export function encodePortList({ published, exposed }: ShownPorts, ipv6: boolean): object[] {
  return [
    ...listedPorts(published, ipv6),
    ...exposed.map((text) => {
      const [number, type] = text.split('/');
      return { PrivatePort: Number(number), Type: type };
    }),
  ];
}

/** For inspection: null for what is exposed only. */
export function encodePortMap(
  { published, exposed }: ShownPorts,
  ipv6: boolean,
): Record<string, object[] | null> {
  return { ...Object.fromEntries(exposed.map((text) => [text, null])), ...boundPorts(published, ipv6) };
}

export function encodeMounts(container: PlacedContainer, { revision }: StoredContainer): object[] {
  const points = container.details?.mounts ?? revision.spec.container.mounts.map(pointOf);
  return points.map((point) =>
    defined({
      Type: point.kind,
      Name: point.name,
      Source: point.source,
      Destination: point.target,
      Driver: point.kind === 'volume' ? 'local' : undefined,
      Mode: '',
      RW: !point.readOnly,
      Propagation: point.kind === 'bind' ? (point.propagation ?? 'rprivate') : '',
    }),
  );
}

/** Before its node has said. */
function pointOf(mount: MountSpec): MountPoint {
  const { kind, target, readOnly } = mount;
  const source = mount.kind === 'bind' ? mount.source : '';
  return { kind, target, readOnly, source, ...(mount.kind === 'volume' ? { name: mount.source } : {}) };
}

const NO_ENDPOINT = {
  IPAMConfig: null as object | null,
  Links: null as readonly string[] | null,
  Aliases: null as readonly string[] | null,
  NetworkID: '',
  EndpointID: '',
  Gateway: '',
  IPAddress: '',
  IPPrefixLen: 0,
  IPv6Gateway: '',
  GlobalIPv6Address: '',
  GlobalIPv6PrefixLen: 0,
  MacAddress: '',
  DNSNames: null as readonly string[] | null,
  GwPriority: 0,
};

/** Of one that is up what its task has; of another what its next start is to have. */
function endpointsOf({ task, revision }: StoredContainer, isUp: boolean): Omit<TaskAddress, 'device'>[] {
  const has = task?.addresses ?? [];
  const wanted = networksOf(revision.spec);
  const kept = isUp ? has : has.filter(({ network }) => wanted.includes(network));
  const more = wanted.filter((network) => kept.every((one) => one.network !== network));
  return [...kept, ...more.map((network) => ({ network, address: '' }))];
}

/** `Networks` of NetworkSettings. A container that is down has no address. */
export function encodeEndpoints(
  container: PlacedContainer,
  stored: StoredContainer,
  facts: ContainerFacts,
): Record<string, object> {
  const isUp = container.state === 'running' || container.state === 'paused';
  const { spec } = stored.revision;
  const { runtime = {} } = spec.container;
  const own = runtime.network;
  // Docker shows none of one with another container's network.
  if (runtime.networkOf !== undefined) return {};
  if (own !== undefined) return { [own]: { ...NO_ENDPOINT, NetworkID: nodeNetworkId(own) } };
  const attached = new Map(spec.networks.map((one) => [one.network, one]));
  const entries = endpointsOf(stored, isUp).map(({ network, address }) => {
    // On a network that it was put on since it ran, or is just being put on, it has no address.
    const subnet = address === '' ? undefined : facts.subnet(network, address);
    const attachment = attached.get(network);
    const { aliases: given = [], address: fixed, wayOutPriority = 0, links = [] } = attachment ?? {};
    const mac = network === INGRESS_NETWORK_ID ? runtime.macAddress : attachment?.macAddress;
    const endpoint = {
      ...NO_ENDPOINT,
      IPAMConfig: fixed === undefined ? null : { IPv4Address: fixed },
      Links: encodeLinks(links),
      Aliases: given.length === 0 ? null : given,
      NetworkID: network,
      EndpointID: isUp ? (stored.task?.id ?? '') : '',
      Gateway: isUp ? (subnet?.gateway ?? '') : '',
      IPAddress: isUp ? address : '',
      IPPrefixLen: isUp ? (subnet?.bits ?? 0) : 0,
      ...(isUp ? subnet?.ipv6 : {}),
      MacAddress: isUp ? (mac ?? '') : '',
      DNSNames: [stored.service.name, container.id.slice(0, 12), ...given],
      GwPriority: wayOutPriority,
    };
    return [facts.networkName(network), endpoint] as const;
  });
  return Object.fromEntries(entries);
}

/** What a container without a network of its own has at the top of NetworkSettings, as Docker shows its bridge. */
export function encodeNetworkSettings(
  container: PlacedContainer,
  stored: StoredContainer,
  facts: ContainerFacts,
): object {
  const endpoints = encodeEndpoints(container, stored, facts);
  const [own] = stored.revision.spec.networks.length === 0 ? Object.values(endpoints) : [];
  const of = (name: string): unknown => (own as Record<string, unknown> | undefined)?.[name];
  return {
    Bridge: '',
    SandboxID: '',
    SandboxKey: '',
    Ports: encodePortMap(shownPorts(container, stored), facts.ipv6),
    Gateway: of('Gateway') ?? '',
    IPAddress: of('IPAddress') ?? '',
    IPPrefixLen: of('IPPrefixLen') ?? 0,
    MacAddress: of('MacAddress') ?? '',
    Networks: endpoints,
  };
}

/** "Restarting (1) 3 seconds ago"; undefined for the states that all containers have. */
export function singleStatusText(container: PlacedContainer, nowMs: number): string | undefined {
  switch (container.state) {
    case 'restarting': {
      const ago = elapsedText(nowMs - (container.finishedAtMs ?? nowMs));
      return `Restarting (${container.exitCode ?? 0}) ${ago} ago`;
    }
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return container.nodeIsDown === true ? 'Dead (its node is down)' : 'Dead';
    default:
      return undefined;
  }
}

/** What is known of a container whose node does not say. */
export function fromStore(stored: StoredContainer, state: PlacedContainer['state']): PlacedContainer {
  const { id, service, revision, task, status } = stored;
  const { container } = revision.spec;
  const details: ContainerDetails | undefined = undefined;
  const exitCode = status?.container?.exitCode;
  const startedAtMs = status?.startedAtMs;
  const ended = state === 'exited' || state === 'restarting';
  return defined({
    id,
    taskId: task?.id ?? '',
    name: service.name,
    image: container.image,
    imageId: '',
    serviceId: service.id,
    serviceName: service.name,
    slot: task?.slot ?? 0,
    labels: container.labels,
    path: container.command[0] ?? container.args[0] ?? '',
    args: [...container.command, ...container.args].slice(1),
    env: container.env,
    createdAtMs: service.createdAtMs,
    state,
    pid: 0,
    exitCode,
    error: status?.error,
    startedAtMs,
    finishedAtMs: ended ? status?.atMs : undefined,
    logPath: '',
    networks: task?.addresses ?? [],
    tty: container.tty === true,
    details,
    nodeId: task?.nodeId ?? '',
    nodeIsDown: stored.node !== undefined && stored.node.status !== 'ready' ? true : undefined,
    stored,
  }) as PlacedContainer;
}
