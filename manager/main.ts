/** Wiring of a manager, nothing else: the one place that makes its clocks, sockets and stores. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { untilAborted } from '../shared/lib/abort.ts';
import type { Clock } from '../shared/lib/clock.ts';
import { durationText } from '../shared/lib/duration-text.ts';
import { ForwardClock } from '../shared/lib/forward-clock.ts';
import { newId } from '../shared/lib/ids.ts';
import { UndoStack } from '../shared/lib/undo-stack.ts';
import { VERSION } from '../shared/lib/version.ts';
import type { Logger, ManagerOptions, ManagerRunFile } from '../shared/model/options.ts';
import { createApi } from './api/api.ts';
import { listenUnix } from './api/listen.ts';
import { ReleaseShelf } from './dispatcher/release-shelf.ts';
import { startDispatcher } from './dispatcher/start-dispatcher.ts';
import { lead } from './leader/leader.ts';
import { keepBackups } from './backup/schedule.ts';
import { type BackupSource, createBackup } from './backup/source.ts';
import { loadOrCreateCluster } from './ca/cluster.ts';
import { listenForScrapes } from './metrics/listen.ts';
import { createMetrics } from './metrics/metrics.ts';
import { databaseSize } from './store/database-size.ts';
import { Election } from './store/election.ts';
import { startEmbeddedEtcd } from './store/embedded-etcd.ts';
import { createEtcdClient, type EtcdClientOptions } from './store/etcd-client.ts';
import { maintainEtcd } from './store/maintenance.ts';
import { newestTime } from './store/newest-time.ts';
import { openStore, type OpenStore } from './store/open-store.ts';
import { ensureSchema } from './store/schema.ts';
import type { Store, StoreObserver } from './store/store.ts';
import { openVault } from './vault/data-key-file.ts';

/** By less clocks may differ without a word. */
const ODD_CLOCK_MS = 5_000;

/** Runs until the signal aborts. Losing etcd or the leadership ends nothing. */
export async function runManager(options: ManagerOptions, signal: AbortSignal): Promise<void> {
  const { logger, stateDir, runDir } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await mkdir(runDir, { recursive: true, mode: 0o711 });
  const managerId = await ownId(stateDir);
  await using stack = new UndoStack();
  const metrics = createMetrics(VERSION);
  stack.defer(() => metrics.close());
  const store = await openOwnStore(options, metrics.store, stack, signal);
  const clock = new ForwardClock(Date.now, () => performance.now());
  catchUp(clock, store, logger);
  const { listen, nodeDownAfterMs } = options;
  const clusterOptions = { logger, ...(nodeDownAfterMs === undefined ? {} : { nodeDownAfterMs }) };
  const vault = await openVault(store, stateDir, options.newDataKey === true, signal);
  await loadOrCreateCluster(store, vault, clusterOptions, clock.now(), signal);
  const dispatcher = await startDispatcher({
    store,
    vault,
    listen,
    clusterOptions,
    managerId,
    release: new ReleaseShelf(join(stateDir, 'release')),
    logger,
    clock,
    signal,
  });
  const { usage } = dispatcher;
  stack.defer(() => dispatcher.close());
  const election = new Election({ client: store.client, id: managerId, logger });
  const managerNodeId = (): string | undefined => nodeAt(store, hostOf(options.advertise));
  const backup = startBackups(options, store, clock, stack, signal);
  const api = createApi({
    store,
    backup,
    gateway: dispatcher.gateway,
    vault,
    version: VERSION,
    clusterName: options.name,
    managerNodeId,
    managerAddress: options.advertise,
    stateDir,
    leader: () => (election.leaderId === managerId ? managerNodeId() : undefined),
    logger,
    clock,
    metrics: metrics.api,
    usage,
    signal,
  });
  metrics.read({
    store,
    connected: (nodeId) => dispatcher.gateway.connected(nodeId),
    dispatcher: dispatcher.counts,
    leads: () => election.leaderId === managerId,
    database: () => databaseSize(store.client),
  });
  if (options.metricsListen !== undefined) {
    const scrapes = await listenForScrapes(metrics.api, options.metricsListen, logger);
    stack.defer(() => scrapes.close());
  }
  const server = await listenUnix(options.apiSocket, api, { group: options.apiGroup, mode: 0o660 });
  stack.defer(() => server.close());
  const elected = election.run(signal, (fence, leading) => {
    catchUp(clock, store, logger);
    return lead({ store, fence, logger, clock, observer: metrics.leader, usage }, leading);
  });
  stack.defer(() => elected);
  await writeRunFile(runDir, { pid: process.pid, address: options.advertise, apiSocket: options.apiSocket });
  logger.info({ managerId, agents: options.advertise, api: options.apiSocket }, 'manager serves');
  await untilAborted(signal);
}

/** Time goes on from the newest record, whoever wrote it: see docs/decisions/clocks.md. */
function catchUp(clock: ForwardClock, store: Store, logger: Logger): void {
  const behindMs = clock.atLeast(newestTime(store));
  if (behindMs < ODD_CLOCK_MS) return;
  const behind = durationText(behindMs);
  logger.warn({ behind }, 'the clock of this machine is behind the newest record of the cluster');
}

/** Begins the scheduled backups; returns what makes one on demand. */
function startBackups(
  options: ManagerOptions,
  store: OpenStore,
  clock: Clock,
  stack: UndoStack,
  signal: AbortSignal,
): (signal: AbortSignal) => AsyncIterable<Buffer> {
  const { stateDir, name: clusterName, backups, logger } = options;
  const now = (): number => clock.now();
  const etcd = options.etcd.kind;
  const source: BackupSource = { client: store.client, store, etcd, stateDir, clusterName, now };
  if (backups !== undefined) {
    const { directory = join(stateDir, 'backups'), passphrase } = backups;
    const create = (until: AbortSignal): AsyncIterable<Buffer> => createBackup(source, passphrase, until);
    const kept = keepBackups({ ...backups, directory, clusterName, create, now, logger }, signal);
    stack.defer(() => kept);
  }
  return (until) => createBackup(source, undefined, until);
}

/** The store on the etcd that the options name; an embedded one is started, maintained and stopped with the manager. */
async function openOwnStore(
  options: ManagerOptions,
  observer: StoreObserver,
  stack: UndoStack,
  signal: AbortSignal,
): Promise<OpenStore> {
  const { etcd, logger } = options;
  if (etcd.kind === 'external') {
    const reach = { endpoints: etcd.endpoints, ...(etcd.tls ? { tls: etcd.tls } : {}) };
    await prepareData(reach, logger, signal);
    return stack.use(await openStore({ ...reach, observer, logger, signal }));
  }
  const directory = join(options.stateDir, 'etcd');
  const ports = { client: etcd.clientPort, peer: etcd.peerPort };
  const quota = etcd.quotaBytes === undefined ? {} : { quotaBytes: etcd.quotaBytes };
  const embedded = stack.use(await startEmbeddedEtcd({ directory, ports, ...quota, logger, signal }));
  const reach = { endpoints: [...embedded.endpoints] };
  await prepareData(reach, logger, signal);
  const store = stack.use(await openStore({ ...reach, observer, logger, signal }));
  const maintained = maintainEtcd({ client: store.client, directory, logger }, signal);
  stack.defer(() => maintained);
  return store;
}

/** Before anything reads the tables they must be of this version. */
async function prepareData(reach: EtcdClientOptions, logger: Logger, signal: AbortSignal): Promise<void> {
  const client = createEtcdClient(reach);
  try {
    await ensureSchema({ client, logger }, signal);
  } finally {
    client.close();
  }
}

/** Who this manager is for elections and sessions: made once, the same after every restart. */
async function ownId(stateDir: string): Promise<string> {
  const path = join(stateDir, 'id');
  const known = await readFile(path, 'utf8').catch(() => '');
  if (known.trim() !== '') return known.trim();
  const id = newId();
  await writeFile(path, `${id}\n`);
  return id;
}

/** The node that shares this manager's machine: the one whose address agents are told to connect to. */
function nodeAt(store: Store, host: string): string | undefined {
  for (const node of store.all('nodes').values()) {
    if (node.description?.address === host) return node.id;
  }
  return undefined;
}

function hostOf(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

/** Tells the supervisor, or whoever waits for it, that the manager serves. */
async function writeRunFile(runDir: string, file: ManagerRunFile): Promise<void> {
  const path = join(runDir, 'manager.json');
  await writeFile(`${path}.new`, JSON.stringify(file));
  await rename(`${path}.new`, path);
}
