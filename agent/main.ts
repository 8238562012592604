/** Wiring of an agent, nothing else: the one place that makes its clocks, sockets and stores. */
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidError, describeError } from '../shared/errors/index.ts';
import { steadyClock } from '../shared/lib/clock.ts';
import { DEFAULT_POOL, sharedWith } from '../shared/lib/id-ranges.ts';
import type { AgentOptions, AgentRunFile, Logger } from '../shared/model/options.ts';
import type { NodeDescription, TaskAssignment, TaskState } from '../shared/model/index.ts';
import { CdiDirectories } from './cdi/directories.ts';
import { Attachments } from './container/attach.ts';
import { ArchiveService } from './container/archive.ts';
import { ContainerBuilder } from './container/builder.ts';
import { Containers } from './container/containers.ts';
import type { Belongings } from './container/new-container.ts';
import { LogForwarding } from './container/log-forwarding.ts';
import { liveNetns, renewResolvConf } from './container/live.ts';
import { ContainerService } from './container/service.ts';
import { stopWithMachine } from './container/machine-stop.ts';
import { readUsage } from './container/usage.ts';
import { watchConfinement } from './confinement/security-modules.ts';
import { diskAbility } from './container/writable-layer.ts';
import { replaceFile } from './files/replace-file.ts';
import { memoryDirectory } from './files/memory-directory.ts';
import { TaskFiles } from './files/task-files.ts';
import { imageAnswers } from './image/image-methods.ts';
import { ImageService } from './image/image-service.ts';
import { describeMachine, sourceAddress } from './machine.ts';
import { hasWireGuard } from './native/network.ts';
import { NetworkDriver } from './network/driver.ts';
import type { NetworkDriverOptions } from './network/driver-options.ts';
import { openOutside } from './network/plugin/open.ts';
import { TunnelKeys } from './network/tunnel-keys.ts';
import { answerRequests } from './requests.ts';
import type { LinkOptions } from './session/link.ts';
import { loadIdentity, saveIdentity, type Identity } from './session/identity.ts';
import { NodeIdentity } from './session/node-identity.ts';
import { Reports } from './session/reports.ts';
import { Returning } from './session/returning.ts';
import { SessionLink } from './session/session-link.ts';
import { volumeAnswers } from './volume/volume-methods.ts';
import { Volumes } from './volume/volumes.ts';
import { ContainerClaims } from './worker/container-claims.ts';
import { TaskExecutor } from './worker/executor.ts';
import { UsageReports } from './worker/usage-reports.ts';
import { Worker, type WorkerOptions } from './worker/worker.ts';

/** A task that ends is mostly followed by another one before. */
const NETWORK_LINGER_MS = 10_000;

/** Runs until the signal aborts. Containers go on when the agent ends; a later agent takes them up again. */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { logger, stateDir, runDir } = options;
  await Promise.all([makeDirectories(options), warnOfSharedIds(options)]);
  const identity = new NodeIdentity(stateDir, await identify(options, signal));
  const keys = await openTunnelKeys(options, identity);
  const describe = describer(options, keys);
  const description = await describe(identity.current.managers[0] ?? '');
  const images = await openImages(options, signal);
  const reports = new Reports();
  const cdi = await CdiDirectories.open(options, (devices) => reports.devices(devices), signal);
  await watchConfinement(logger, (confinement) => reports.confinement(confinement), signal);
  const network = networkDriver(options, identity, {
    ...(await openOutside(options, identity.nodeId, () => network.changed())),
    ...{ wire: () => keys?.wire, live: live(() => containers), onReport: (news) => reports.networks(news) },
  });
  const { files, assignments } = await openMemory(runDir, logger);
  const claims = new ContainerClaims();
  const volumes = new Volumes(stateDir, () => containers.list(), logger);
  // It is there before it is loaded: volumes ask it meanwhile.
  const containers: Containers = makeContainers(options, belongings(files, volumes));
  const forwarding = await loadContainers(containers, logger);
  const builder = new ContainerBuilder({
    ...{ images, containers, files, volumes, cdi },
    resolvConf: (task: TaskAssignment) => network.resolvConfFor(task.taskId),
    ...builtFor(options, identity, description),
  });
  const discard = (volume: string): Promise<void> => volumes.discard(volume);
  const executor = new TaskExecutor(containers, builder, network, logger, claims, discard);
  const worker = new Worker({
    executor,
    networks: network,
    report: (status) => reports.send(status),
    adopted: adoptedStates(containers),
    files: takers(files, claims),
    assignments,
    now: () => steadyClock.now(),
    logger,
    signal,
  });
  const link = new SessionLink(
    { ...linkOptions(options, identity, description), describe },
    {
      onAssignments: (set, acknowledge, whole) => {
        keys?.heard(set.peers.get(identity.nodeId)?.tunnelKeys);
        worker.assign(set, acknowledge, whole);
        usage.take(set);
      },
      ...answers({ containers, volumes, images, builder, executor, identity, network }),
    },
    logger.child({ part: 'session' }),
  );
  reports.to(link);
  const rekeying = keys?.run(() => rekeyed(keys, link, network), signal);
  const usage = usageReports(containers, link, logger);
  await worker.resume();
  await writeRunFile(runDir, { pid: process.pid, nodeId: identity.nodeId });
  sayThatItRuns(logger, identity.nodeId, description, containers);
  try {
    await link.run(signal);
  } finally {
    usage.close();
    await rekeying;
    await worker.close();
    await stopWithMachine(containers, logger);
    await Promise.all([network.close(), forwarding.close()]);
  }
}

/** `containers`: they are made after the networks, which they need. */
function live(containers: () => Containers): NonNullable<NetworkDriverOptions['live']> {
  return {
    netnsOf: (taskId) => liveNetns(containers(), taskId),
    rewired: (taskId, text) => renewResolvConf(containers(), taskId, text),
  };
}

/** Managers are told of the new key, and the kernel gets it. */
async function rekeyed(keys: TunnelKeys, link: SessionLink, network: NetworkDriver): Promise<void> {
  link.tellKeys(keys.published);
  await network.rekeyed();
}

/** What of the node goes into each container. */
function builtFor(
  { name, hostname, userNamespaces }: AgentOptions,
  { nodeId }: { readonly nodeId: string },
  platform: NodeDescription,
) {
  const cgroupParent = join('/', `shoal-${name}`, hostname);
  const remap = userNamespaces?.remap === true;
  return { cgroupParent, hostname, nodeId, remap, platform, nodeAddress: platform.address };
}

async function makeDirectories({ stateDir, runDir }: AgentOptions): Promise<void> {
  // Closed to other users: images hold set-user-ID programs, which nobody may run outside of a container (CVE-2021-41091).
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await chmod(stateDir, 0o700);
  await mkdir(runDir, { recursive: true, mode: 0o711 });
}

/** What is said of this machine to a manager. Unless it is given, its address is the one from which it reaches that one. */
function describer(
  options: AgentOptions,
  keys: TunnelKeys | undefined,
): (manager: string) => Promise<NodeDescription> {
  const { hostname, labels, genericResources, stateDir } = options;
  return async (manager) => {
    const address = options.address ?? (await sourceAddress(manager));
    const machine = await describeMachine(hostname, address, labels, genericResources);
    return { ...machine, ...(await diskAbility(stateDir)), ...keys?.description };
  };
}

function linkOptions(
  options: AgentOptions,
  identity: NodeIdentity,
  description: NodeDescription,
): LinkOptions {
  const { nodeId, current } = identity;
  const returning = new Returning({ ...options, identity });
  const onRefused = (signal: AbortSignal): Promise<void> => returning.refused(signal);
  const remember = (parts: Parameters<NodeIdentity['change']>[0]): void => {
    identity.change(parts).catch((error: unknown) => {
      options.logger.warn({ error: describeError(error) }, 'who the managers are could not be written down');
    });
  };
  return {
    ...{ nodeId, managers: current.managers, description, tls: identity, onRefused },
    onManagers: (managers) => remember({ managers: [...managers] }),
    onRemovedManagers: (ids) => remember({ removedManagers: [...ids] }),
  };
}

async function openImages(options: AgentOptions, signal: AbortSignal): Promise<ImageService> {
  const { stateDir, insecureRegistries, logger } = options;
  const images = await ImageService.open({
    dir: join(stateDir, 'images'),
    insecureRegistries: [...insecureRegistries],
    logger,
  });
  await preload(images, options, signal);
  return images;
}

function usageReports(containers: Containers, link: SessionLink, logger: Logger): UsageReports {
  return new UsageReports({
    runDirOf: (taskId) => {
      const record = containers.ofTask(taskId);
      return record === undefined || record.exit !== undefined
        ? undefined
        : containers.runDirectory(record.id);
    },
    read: readUsage,
    send: (tasks) => link.reportUsage(tasks),
    steadyMs: () => performance.now(),
    logger,
  });
}

/** Who has to know the newest assignments before a task of theirs is begun. */
function takers(files: TaskFiles, claims: ContainerClaims): WorkerOptions['files'] {
  return {
    take: (set) => {
      files.take(set);
      claims.take(set);
    },
  };
}

interface Parts {
  readonly containers: Containers;
  readonly volumes: Volumes;
  readonly images: ImageService;
  readonly builder: ContainerBuilder;
  readonly executor: TaskExecutor;
  readonly identity: NodeIdentity;
  readonly network: NetworkDriver;
}

/** What managers may ask of this node, subject by subject. */
function answers({ containers, volumes, images, builder, executor, identity, network }: Parts) {
  const imageBytes = async (id: string) => (await images.resolveLocal(id))?.sizeBytes;
  const service = new ContainerService(containers, (taskId) => executor.healthOf(taskId), imageBytes);
  const image = imageAnswers(images, (imageId) => builder.userOf(imageId));
  const archive = new ArchiveService({
    containers,
    volumes,
    layersOf: async (imageId) => (await images.resolveLocal(imageId))?.layers ?? [],
  });
  const attachments = new Attachments(containers);
  return answerRequests(
    {
      ...identity.methods,
      ...service.methods,
      ...image.methods,
      ...attachments.methods,
      ...archive.methods,
      ...volumeAnswers(volumes, containers, imageBytes),
      'network.settled': async ({ taskId, addresses }, signal) => {
        await network.settled(taskId, addresses, signal);
        return {};
      },
    },
    { ...service.streams, ...image.streams, ...attachments.streams, ...archive.streams },
  );
}

/** What ends with a container: secrets and configs, and its part in what is mounted for volumes. */
function belongings(files: TaskFiles, volumes: Volumes): Belongings {
  return {
    remove: async (id) => {
      await files.remove(id);
      await volumes.release(id);
    },
    sweep: async (living) => {
      await files.sweep(living);
      await volumes.sweep(living);
    },
  };
}

function networkDriver(
  options: AgentOptions,
  { nodeId }: { readonly nodeId: string },
  around: Required<Pick<NetworkDriverOptions, 'wire' | 'macvlan' | 'plugins' | 'onReport' | 'live'>>,
): NetworkDriver {
  const { name: clusterName, vxlanPort } = options;
  const logger = options.logger.child({ part: 'network' });
  return new NetworkDriver({
    ...around,
    clusterName,
    nodeId,
    vxlanPort,
    lingerMs: NETWORK_LINGER_MS,
    logger,
  });
}

/** Undefined where the kernel has no WireGuard: no task of an encrypted network comes to this node then. */
async function openTunnelKeys(options: AgentOptions, { nodeId }: { readonly nodeId: string }) {
  if (!(await hasWireGuard())) return undefined;
  const { stateDir, wireguardPort: port, logger } = options;
  return TunnelKeys.open({ dir: join(stateDir, 'wireguard'), nodeId, port, clock: steadyClock, logger });
}

function makeContainers(options: AgentOptions, belongs: Belongings): Containers {
  const { stateDir, runDir, logger, userNamespaces } = options;
  return new Containers(stateDir, runDir, logger, belongs, userNamespaces?.pool);
}

/** Takes up what an earlier agent left, and goes on sending its output where that goes. */
async function loadContainers(containers: Containers, logger: Logger): Promise<LogForwarding> {
  await containers.load();
  const forwarding = new LogForwarding(containers, logger);
  containers.watch(forwarding);
  forwarding.resume();
  return forwarding;
}

/** Users who may take the containers' ids for their own could read what is theirs. */
async function warnOfSharedIds({ userNamespaces, logger }: AgentOptions): Promise<void> {
  for (const file of ['/etc/subuid', '/etc/subgid']) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const lines = sharedWith(userNamespaces?.pool ?? DEFAULT_POOL, text);
    if (lines.length > 0) logger.warn({ file, lines }, 'these ids are in --userns-pool, too');
  }
}

/** What is kept in memory, and only there when it is secret. */
async function openMemory(
  runDir: string,
  logger: Logger,
): Promise<{ files: TaskFiles; assignments: WorkerOptions['assignments'] }> {
  const memory = await memoryDirectory(runDir, logger);
  return {
    files: new TaskFiles(memory === undefined ? undefined : join(memory, 'files')),
    assignments: { path: join(memory ?? runDir, 'assignments.json'), inMemory: memory !== undefined },
  };
}

/** The identity on disk, or a new one by joining. Managers that are given by hand are tried first. */
async function identify(options: AgentOptions, signal: AbortSignal): Promise<Identity> {
  const known = await loadIdentity(options.stateDir);
  if (known !== undefined) {
    return { ...known, managers: [...new Set([...(options.join?.managers ?? []), ...known.managers])] };
  }
  if (options.join === undefined) {
    throw new InvalidError(
      `this node has joined no cluster yet (no identity in ${options.stateDir}): start it with --join TOKEN ADDRESS`,
    );
  }
  const { token, managers } = options.join;
  // Loaded for this only: what makes certificates weighs more than the rest of the agent.
  const { join: joinCluster } = await import('./session/join.ts');
  const joined = await joinCluster({ token, managers, hostname: options.hostname }, signal);
  const identity = { ...joined, managers: [...managers] };
  await saveIdentity(options.stateDir, identity);
  options.logger.info({ nodeId: identity.nodeId }, 'joined the cluster');
  return identity;
}

/** Images that are put beside the agent as archives, as `docker save` writes them. */
async function preload(images: ImageService, options: AgentOptions, signal: AbortSignal): Promise<void> {
  const directory = options.preloadImages;
  if (directory === undefined) return;
  const names = (await readdir(directory).catch(() => [])).filter((name) => name.endsWith('.tar'));
  for (const name of names) {
    try {
      await images.importTar(join(directory, name), signal);
    } catch (error) {
      options.logger.error(
        { file: join(directory, name), reason: describeError(error) },
        'can not import this image',
      );
    }
  }
}

/** Tasks whose containers are here: the first look at each decides whether it still runs. */
function adoptedStates(containers: Containers): Map<string, TaskState> {
  return new Map(
    containers
      .list()
      .map((record) => [record.taskId, record.standalone?.created === true ? 'assigned' : 'starting']),
  );
}

function sayThatItRuns(
  logger: Logger,
  nodeId: string,
  { address }: NodeDescription,
  containers: Containers,
): void {
  logger.info({ nodeId, address, containers: containers.list().length }, 'agent runs');
}

/** Tells the supervisor, or whoever waits for it, that the agent is up. */
async function writeRunFile(runDir: string, file: AgentRunFile): Promise<void> {
  await replaceFile(join(runDir, 'agent.json'), JSON.stringify(file), { mode: 0o644 });
}
