/** Wiring of a manager, nothing else: the one place that makes its clocks, sockets and stores. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { InvalidError } from '../shared/errors/index.ts';
import { untilAborted } from '../shared/lib/abort.ts';
import type { Clock } from '../shared/lib/clock.ts';
import { durationText } from '../shared/lib/duration-text.ts';
import { ForwardClock } from '../shared/lib/forward-clock.ts';
import { newId } from '../shared/lib/ids.ts';
import { UndoStack } from '../shared/lib/undo-stack.ts';
import { VERSION } from '../shared/lib/version.ts';
import type { Cluster, Logger, ManagerOptions, ManagerRunFile } from '../shared/model/index.ts';
import { TcpDoor } from './api/access/tcp-door.ts';
import { createApi } from './api/api.ts';
import type { ApiOptions } from './api/context.ts';
import { EventLog } from './api/events/event-log.ts';
import { listenUnix } from './api/listen.ts';
import { Refusals } from './dispatcher/refusals.ts';
import { ReleaseShelf } from './dispatcher/release-shelf.ts';
import { type RunningDispatcher, startDispatcher } from './dispatcher/start-dispatcher.ts';
import { AuditLog } from './audit/audit-log.ts';
import { lead } from './leader/leader.ts';
import { keepBackups } from './backup/schedule.ts';
import { type BackupSource, createBackup } from './backup/source.ts';
import { checkRoot } from './ca/authority.ts';
import { authorityOf, type ClusterOptions, loadOrCreateCluster } from './ca/cluster.ts';
import { readEtcdRoots } from './ca/etcd-authority.ts';
import { GracefulStop } from './graceful-stop.ts';
import { healthSources } from './health-sources.ts';
import { untilUnlocked } from './locked-start.ts';
import { keepRotating } from './rotations.ts';
import { isLoopback, listenForScrapes, scrapesOnly } from './metrics/listen.ts';
import { createMetrics } from './metrics/metrics.ts';
import { type ManagerDoor, managerDoor } from './membership/door.ts';
import { enterCluster, noteRemoved, refuseRemoved } from './membership/enter.ts';
import { Isolation } from './membership/isolation.ts';
import { backUpBefore, keepForward } from './membership/keep-forward.ts';
import { hostOf, Managers } from './membership/managers.ts';
import { openOwnStore, ownPeerUrl } from './membership/own-store.ts';
import type { EmbeddedEtcd } from './store/embedded-etcd.ts';
import { databaseSize } from './store/database-size.ts';
import { Election } from './store/election.ts';
import { newestTime } from './store/newest-time.ts';
import type { OpenStore } from './store/open-store.ts';
import type { Store } from './store/store.ts';
import { SCHEMA_VERSION } from './store/stored-schema.ts';
import { keyText, openVault } from './vault/data-key-file.ts';
import type { Vault } from './vault/seal.ts';

/** By less clocks may differ without a word. */
const ODD_CLOCK_MS = 5_000;

/** Runs until the signal aborts. Losing etcd or the leadership ends nothing; being removed from the cluster does. */
export async function runManager(options: ManagerOptions, stop: AbortSignal): Promise<void> {
  const { logger, stateDir, runDir } = options;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await mkdir(runDir, { recursive: true, mode: 0o711 });
  if (options.joins !== undefined) await enterCluster({ stateDir, identity: options.joins, logger }, stop);
  await refuseRemoved(stateDir);
  const removal = new AbortController();
  const unlockKey = await untilUnlocked(options, stop);
  const stopping = new GracefulStop(stop);
  const signal = AbortSignal.any([stopping.signal, removal.signal]);
  await using stack = new UndoStack();
  const metrics = createMetrics(VERSION);
  stack.defer(() => metrics.close());
  const managerId = await ownId(stateDir);
  const { store, embedded } = await openOwnStore(options, managerId, metrics.store, stack, signal);
  void embedded?.removed.then(() => removal.abort());
  void store.schema.outgrown.then((why) => removal.abort(why));
  const parts = { options, store, embedded, managerId, unlockKey, metrics, stack, stopping };
  await serve(parts, signal).catch((error: unknown) => {
    if (!removal.signal.aborted) throw error;
  });
  if (!removal.signal.aborted) return;
  if (removal.signal.reason instanceof InvalidError) throw removal.signal.reason;
  await noteRemoved(stateDir);
  await refuseRemoved(stateDir);
}

interface Parts {
  readonly options: ManagerOptions;
  readonly store: OpenStore;
  readonly embedded: EmbeddedEtcd | undefined;
  readonly managerId: string;
  /** Of its data keys, if these are locked. */
  readonly unlockKey: Buffer | undefined;
  readonly metrics: ReturnType<typeof createMetrics>;
  readonly stack: UndoStack;
  readonly stopping: GracefulStop;
}

async function serve(parts: Parts, signal: AbortSignal): Promise<void> {
  const { options, store, managerId, metrics, stack } = parts;
  const { logger, stateDir, runDir } = options;
  const clock = new ForwardClock(Date.now, () => performance.now());
  catchUp(clock, store, logger);
  const clusterOptions = await clusterOptionsOf(options, clock.now());
  const vault = await openVault(store, stateDir, options.newDataKey === true, signal, parts.unlockKey);
  await loadOrCreateCluster(store, vault, clusterOptions, clock.now(), signal);
  const election = new Election({ client: store.client, id: managerId, logger });
  const managers = await joinManagers(parts, election, clock, signal);
  const leads = (): boolean => election.leaderId === managerId;
  const alive = (): ReadonlySet<string> => election.alive;
  const dispatcher = await startDispatcher({
    store,
    vault,
    listen: options.listen,
    clusterOptions,
    managerId,
    door: doorOf(parts, vault, clock),
    judges: () => (leads() ? election.alive : undefined),
    leaderAddress: () => managers.leaderAddress,
    peers: () => managers.peers,
    release: new ReleaseShelf(join(stateDir, 'release')),
    logger,
    clock,
    signal,
  });
  const { usage } = dispatcher;
  const backups = startBackups(options, store, clock, stack, leads, signal);
  stack.defer(() => dispatcher.close());
  const auditLog = new AuditLog({ directory: join(stateDir, 'audit'), logger });
  stack.defer(() => auditLog.flush());
  const api: ApiOptions = {
    store,
    managers,
    backup: backups.onDemand,
    gateway: dispatcher.gateway,
    vault,
    version: VERSION,
    clusterName: options.name,
    managerNodeId: () => managers.ownNodeId,
    managerAddress: options.advertise,
    stateDir,
    leader: () => managers.leaderNodeId,
    logger,
    clock,
    metrics: metrics.api,
    events: new EventLog(store, clock),
    audit: auditLog,
    health: healthSources(options, store, leads),
    ...keepRotating({ ...parts, vault, stateDir, leads, alive, clock, logger }, stack, signal),
    usage,
    signal,
  };
  const refusals = new Refusals(logger.child({ port: 'api' }));
  tellMetrics(parts, dispatcher, leads, refusals);
  await listenAll(parts, api, vault, refusals, signal);
  const elected = election.run(signal, (fence, leading) => {
    catchUp(clock, store, logger);
    return lead({ store, fence, logger, clock, observer: metrics.leader, usage }, leading);
  });
  stack.defer(() => elected);
  const sealAgain = (): Promise<unknown> =>
    loadOrCreateCluster(store, vault, clusterOptions, clock.now(), signal);
  bringDataForward(parts, backups.kept, sealAgain, leads, signal);
  watchIsolation(parts, election, dispatcher, signal);
  await writeRunFile(runDir, { pid: process.pid, address: options.advertise, apiSocket: options.apiSocket });
  logger.info({ managerId, agents: options.advertise, api: options.apiSocket }, 'manager serves');
  await untilAborted(signal);
}

function tellMetrics(
  { store, metrics }: Parts,
  dispatcher: RunningDispatcher,
  leads: () => boolean,
  refusals: Refusals,
): void {
  metrics.read({
    store,
    connected: (nodeId) => dispatcher.hasSession(nodeId),
    dispatcher: dispatcher.counts,
    leads,
    database: () => databaseSize(store.client),
    apiRefused: refusals.counts,
  });
}

/** This manager among the others: its record is written, and those that join are helped. */
async function joinManagers(
  { options, store, managerId, stack }: Parts,
  election: Election,
  clock: Clock,
  signal: AbortSignal,
): Promise<Managers> {
  const peerUrl = ownPeerUrl(options);
  const own = {
    id: managerId,
    hostname: hostname(),
    address: options.advertise,
    ...(peerUrl === undefined ? {} : { peerUrl }),
    version: VERSION,
    schemaVersion: SCHEMA_VERSION,
  };
  const { logger } = options;
  const managers = new Managers({ store, client: store.client, election, own, clock, logger });
  await managers.register(signal);
  const helping = managers.run(signal);
  stack.defer(() => helping);
  return managers;
}

/** What waited for it, such as to seal the cluster's secrets, is done then. */
function bringDataForward(
  { options, store, stack }: Parts,
  create: (signal: AbortSignal) => AsyncIterable<Buffer>,
  done: () => Promise<unknown>,
  leads: () => boolean,
  signal: AbortSignal,
): void {
  const { logger, name: clusterName, stateDir, backups } = options;
  const directory = backups?.directory ?? join(stateDir, 'backups');
  const backUp = (version: number, until: AbortSignal): Promise<void> =>
    backUpBefore(version, { directory, clusterName, create, logger }, until);
  const forward = keepForward({ store, leads, backUp, done, logger }, signal);
  stack.defer(() => forward);
}

function watchIsolation(
  { store, stack }: Parts,
  election: Election,
  dispatcher: RunningDispatcher,
  signal: AbortSignal,
): void {
  const isolation = new Isolation({
    stands: () => election.stands,
    hasOthers: () => store.all('managers').size > 1,
    sendAway: () => dispatcher.sendAway('this manager has lost etcd: go to another one'),
  });
  const watching = isolation.run(signal);
  stack.defer(() => watching);
}

function doorOf({ options, store }: Parts, vault: Vault, clock: Clock): ManagerDoor {
  const { stateDir, logger, etcd } = options;
  return managerDoor({
    store,
    vault,
    client: store.client,
    dataKey: () => keyText(vault),
    etcdRoots: async () => (etcd.kind === 'embedded' ? readEtcdRoots(join(stateDir, 'etcd')) : undefined),
    version: VERSION,
    clock,
    logger,
  });
}

async function listenAll(
  { options, store, managerId, metrics, stack, stopping }: Parts,
  api: ApiOptions,
  vault: Vault,
  refusals: Refusals,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { metricsListen, logger } = options;
  const drains: (() => Promise<void>)[] = [];
  const plain = metricsListen !== undefined && isLoopback(metricsListen.host);
  if (plain) {
    const scrapes = await listenForScrapes(metrics.api, metricsListen, logger);
    stack.defer(() => scrapes.close());
  }
  if (options.api !== undefined || (metricsListen !== undefined && !plain)) {
    const door = await TcpDoor.open({
      store,
      managerId,
      authority: () => authorityOf(clusterRecord(store), vault),
      names: [hostOf(options.advertise), ...(options.api?.names ?? [])],
      clock: api.clock,
      audit: api.audit,
      refusals,
      logger,
    });
    stack.defer(() => door.close());
    drains.push(() => door.drain());
    if (options.api !== undefined) await door.listen(options.api, (access) => createApi({ ...api, access }));
    if (metricsListen !== undefined && !plain)
      await door.listen(metricsListen, (access) => scrapesOnly(createApi({ ...api, access })));
  }
  const server = await listenUnix(options.apiSocket, createApi(api), {
    group: options.apiGroup,
    mode: 0o660,
  });
  stack.defer(() => server.close());
  drains.push(() => server.drain());
  stopping.first(async () => void (await Promise.all(drains.map((drain) => drain()))));
}

function clusterRecord(store: Store): Cluster {
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('the cluster has no record');
  return cluster;
}

/** For a cluster that this manager makes. Throws InvalidError for a root that can not be used. */
async function clusterOptionsOf(
  { root, nodeDownAfterMs, logger }: ManagerOptions,
  nowMs: number,
): Promise<ClusterOptions> {
  return {
    logger,
    ...(root === undefined ? {} : { root: await checkRoot(root, nowMs) }),
    ...(nodeDownAfterMs === undefined ? {} : { nodeDownAfterMs }),
  };
}

/** Time goes on from the newest record, whoever wrote it: see docs/decisions/clocks.md. */
function catchUp(clock: ForwardClock, store: Store, logger: Logger): void {
  const behindMs = clock.atLeast(newestTime(store));
  if (behindMs < ODD_CLOCK_MS) return;
  const behind = durationText(behindMs);
  logger.warn({ behind }, 'the clock of this machine is behind the newest record of the cluster');
}

/** Begins the scheduled backups; returns what makes one on demand, and one that is kept: with the passphrase, if there is one. */
function startBackups(
  options: ManagerOptions,
  store: OpenStore,
  clock: Clock,
  stack: UndoStack,
  leads: () => boolean,
  signal: AbortSignal,
): Record<'onDemand' | 'kept', (signal: AbortSignal) => AsyncIterable<Buffer>> {
  const { stateDir, name: clusterName, backups, logger } = options;
  const now = (): number => clock.now();
  const etcd = options.etcd.kind;
  const source: BackupSource = { client: store.client, store, etcd, stateDir, clusterName, now };
  const create = (until: AbortSignal): AsyncIterable<Buffer> =>
    createBackup(source, backups?.passphrase, until);
  if (backups !== undefined) {
    const { directory = join(stateDir, 'backups') } = backups;
    const kept = keepBackups({ ...backups, directory, clusterName, create, now, leads, logger }, signal);
    stack.defer(() => kept);
  }
  return { onDemand: (until) => createBackup(source, undefined, until), kept: create };
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

/** Tells the supervisor, or whoever waits for it, that the manager serves. */
async function writeRunFile(runDir: string, file: ManagerRunFile): Promise<void> {
  const path = join(runDir, 'manager.json');
  await writeFile(`${path}.new`, JSON.stringify(file));
  await rename(`${path}.new`, path);
}
