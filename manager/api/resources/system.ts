import { existsSync, readdirSync } from 'node:fs';
import { arch, release } from 'node:os';
import { Router } from 'express';
import { isTerminal, type Node } from '../../../shared/model/index.ts';
import { securityModules } from '../codec/node-codec.ts';
import { encodeSwarmSpec } from '../codec/swarm-codec.ts';
import { tlsInfo } from '../codec/tls-info.ts';
import { API_VERSION, MIN_API_VERSION, type ApiContext } from '../context.ts';
import { sendJson } from '../http/respond.ts';
import { managerStatus, nodeName } from './nodes.ts';

/** Clients compare it with Docker's releases and refuse old ones; Shoal's own version follows the plus. */
const ENGINE_LEVEL = '28.0.0';
const ARCH_NAMES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
};

export function systemRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/_ping', (req, res) => {
    // Express answers HEAD from here too.
    res.statusCode = 200;
    res.setHeader('Content-Type', 'text/plain; charset=utf-8');
    res.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate');
    res.setHeader('Pragma', 'no-cache');
    res.setHeader('Builder-Version', '1');
    res.setHeader('Swarm', 'active/manager');
    res.setHeader('Content-Length', 2);
    res.end(req.method === 'HEAD' ? undefined : 'OK');
  });
  router.get('/version', (_req, res) => sendJson(res, 200, versionBody(ctx)));
  router.get('/info', (_req, res) => sendJson(res, 200, infoBody(ctx)));
  return router;
}

/** Of all nodes, each once. */
function networkPlugins(nodes: readonly Node[]): string[] {
  return [...new Set(nodes.flatMap(({ drivers }) => drivers?.plugins ?? []))].toSorted();
}

/** Of all nodes, each once. */
function cdiDevices(nodes: readonly Node[]): object[] {
  const names = new Set(nodes.flatMap(({ devices }) => devices?.names ?? []));
  return [...names].toSorted().map((ID) => ({ Source: 'cdi', ID }));
}

function serverVersion(ctx: ApiContext): string {
  return `${ENGINE_LEVEL}+shoal.${ctx.version}`;
}

function versionBody(ctx: ApiContext): object {
  const common = { Os: 'linux', Arch: ARCH_NAMES[arch()] ?? arch(), KernelVersion: release() };
  const details = {
    ApiVersion: API_VERSION,
    MinAPIVersion: MIN_API_VERSION,
    ...common,
    Experimental: 'false',
  };
  return {
    Platform: { Name: `Shoal ${ctx.version}` },
    Components: [{ Name: 'Engine', Version: serverVersion(ctx), Details: details }],
    Version: serverVersion(ctx),
    ApiVersion: API_VERSION,
    MinAPIVersion: MIN_API_VERSION,
    GitCommit: '',
    // Clients print it as the language's version.
    GoVersion: `node ${process.version}`,
    ...common,
    BuildTime: '',
  };
}

function infoBody(ctx: ApiContext): object {
  const nodes = [...ctx.store.all('nodes').values()];
  const { running, stopped } = countContainers(ctx);
  const self = nodes.find((node) => node.id === ctx.managerNodeId());
  const sum = (of: 'nanoCpus' | 'memoryBytes'): number =>
    nodes.reduce((total, node) => total + (node.status === 'ready' ? (node.description?.[of] ?? 0) : 0), 0);
  return {
    ID: ctx.store.get('cluster', 'self')?.clusterId ?? '',
    Name: self === undefined ? ctx.clusterName : nodeName(self),
    Containers: running + stopped,
    ContainersRunning: running,
    ContainersPaused: 0,
    ContainersStopped: stopped,
    Images: countImages(ctx),
    Driver: 'overlayfs',
    DriverStatus: [],
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'macvlan', 'null', 'overlay', ...networkPlugins(nodes)],
      Authorization: null,
      Log: ['json-file'],
    },
    DiscoveredDevices: cdiDevices(nodes),
    SystemTime: new Date(ctx.clock.now()).toISOString(),
    LoggingDriver: 'json-file',
    KernelVersion: release(),
    OperatingSystem: `Shoal ${ctx.version} (cluster ${ctx.clusterName})`,
    OSType: 'linux',
    Architecture: self?.description?.arch ?? { x64: 'x86_64', arm64: 'aarch64' }[arch() as 'x64'] ?? arch(),
    NCPU: Math.floor(sum('nanoCpus') / 1e9),
    MemTotal: sum('memoryBytes'),
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: { IndexConfigs: {}, InsecureRegistryCIDRs: [], Mirrors: [] },
    ServerVersion: serverVersion(ctx),
    Labels: [],
    ExperimentalBuild: false,
    Swarm: swarmInfo(ctx),
    LiveRestoreEnabled: true,
    SecurityOptions: ['name=seccomp,profile=builtin', 'name=cgroupns', ...securityModules(nodes)],
    Warnings: [],
    Debug: false,
    NFd: openFiles(),
    NGoroutines: 0,
    NEventsListener: ctx.events.listenerCount,
    DockerRootDir: ctx.stateDir ?? '',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: existsSync('/sys/fs/cgroup/cgroup.controllers') ? '2' : '1',
    Runtimes: { shoal: { path: 'shoal' } },
    DefaultRuntime: 'shoal',
    InitBinary: '',
    ContainerdCommit: NO_COMMIT,
    RuncCommit: NO_COMMIT,
    InitCommit: NO_COMMIT,
    DefaultAddressPools: addressPools(ctx),
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Isolation: '',
    ProductLicense: '',
    GenericResources: null,
    CDISpecDirs: [],
    ...KERNEL_ABILITIES,
  };
}

/** Of programs that a node has none of; clients read the field all the same. */
const NO_COMMIT = { ID: 'N/A', Expected: 'N/A' };

/** Clients up to 20.10 warn of what is absent here: of cgroup controllers, forwarding, and filters of a bridge that Shoal does not have. */
const KERNEL_ABILITIES = {
  MemoryLimit: true,
  SwapLimit: true,
  OomKillDisable: true,
  CpuCfsPeriod: true,
  CpuCfsQuota: true,
  CPUShares: true,
  CPUSet: true,
  PidsLimit: true,
  IPv4Forwarding: true,
  BridgeNfIptables: true,
  BridgeNfIp6tables: true,
};

function swarmInfo(ctx: ApiContext): object {
  const nodes = [...ctx.store.all('nodes').values()];
  const managers = remoteManagers(ctx, nodes);
  const cluster = ctx.store.get('cluster', 'self');
  const selfId = ctx.managerNodeId();
  const self = nodes.find((node) => node.id === selfId);
  return {
    NodeID: selfId ?? '',
    NodeAddr: self?.description?.address ?? '',
    LocalNodeState: 'active',
    ControlAvailable: true,
    Error: '',
    RemoteManagers: managers,
    Nodes: nodes.length,
    Managers: Math.max(1, managers.length),
    ...(cluster === undefined ? {} : { Cluster: clusterInfo(ctx) }),
  };
}

/** One without a node beside it shows its own id. */
function remoteManagers(ctx: ApiContext, nodes: readonly Node[]): { NodeID: string; Addr: string }[] {
  if (ctx.managers !== undefined) {
    const views = ctx.managers.views();
    return views.map(({ record, nodeId }) => ({ NodeID: nodeId ?? record.id, Addr: record.address }));
  }
  return nodes.flatMap((node) => {
    const status = managerStatus(ctx, node);
    return status === undefined ? [] : [{ NodeID: node.id, Addr: status.address }];
  });
}

/** The cluster as /info embeds it and /swarm shows it, without the join tokens. */
export function clusterInfo(ctx: ApiContext): Record<string, unknown> {
  const cluster = ctx.store.get('cluster', 'self');
  const time = (ms: number | undefined): string => new Date(ms ?? 0).toISOString();
  return {
    ID: cluster?.clusterId ?? '',
    Version: { Index: ctx.store.version('cluster', 'self') },
    CreatedAt: time(cluster?.createdAtMs),
    UpdatedAt: time(cluster?.updatedAtMs),
    Spec: encodeSwarmSpec(cluster),
    TLSInfo: tlsInfo(cluster),
    RootRotationInProgress: cluster?.rotation !== undefined,
    DefaultAddrPool: cluster === undefined ? [] : [cluster.addressPool],
    SubnetSize: cluster?.subnetBits ?? 24,
    DataPathPort: 4789,
  };
}

function addressPools(ctx: ApiContext): object[] {
  const cluster = ctx.store.get('cluster', 'self');
  return cluster === undefined ? [] : [{ Base: cluster.addressPool, Size: cluster.subnetBits }];
}

/** Of this process, see proc(5). */
function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

/** Images that tasks name, and that nodes therefore have: asking all nodes would take too long for what every client asks. */
function countImages({ store }: ApiContext): number {
  const images = new Set<string>();
  for (const { serviceId, revision } of store.all('tasks').values()) {
    const image = store.get('revisions', `${serviceId}.${revision}`)?.spec.container.image;
    if (image !== undefined) images.add(image);
  }
  return images.size;
}

function countContainers(ctx: ApiContext): { running: number; stopped: number } {
  let running = 0;
  let stopped = 0;
  for (const status of ctx.store.all('statuses').values()) {
    if (status.container === undefined) continue;
    if (status.state === 'running') running += 1;
    // A single container that was created and does not run yet.
    else if (isTerminal(status.state) || status.state === 'ready') stopped += 1;
  }
  return { running, stopped };
}
