/** Wires the dispatcher: certificate, server, sessions, gateway. */
import { type Clock, systemClock } from '../../shared/lib/clock.ts';
import type { Cluster, Logger } from '../../shared/model/index.ts';
import type { Authority } from '../ca/authority.ts';
import { authorityOf, type ClusterOptions, loadOrCreateCluster } from '../ca/cluster.ts';
import type { ManagerDoor } from '../membership/door.ts';
import type { UsageSource } from '../plan/view.ts';
import type { Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import { type Admission, admission } from './admission.ts';
import type { DispatcherCounts } from './counts.ts';
import { Dispatcher } from './dispatcher.ts';
import { ManagerCertificate } from './manager-certificate.ts';
import { NodeCertificates } from './node-certificates.ts';
import type { NodeGateway } from './node-gateway.ts';
import { NodeRecords } from './node-records.ts';
import type { NodeSession } from './node-session.ts';
import type { ReleaseShelf } from './release-shelf.ts';
import type { SessionCalls } from './session-calls.ts';
import { ManagerLinks } from './manager-links.ts';
import type { Relays } from './relay-client.ts';
import { Refusals } from './refusals.ts';
import { watchRotation } from './rotation-watch.ts';
import { type RunningServer, startServer } from './server.ts';

const DEFAULT_WITHDRAW_TIMEOUT_MS = 2000;

export interface StartDispatcherOptions {
  readonly store: Store;
  /** Opens the secrets and configs of tasks. */
  readonly vault: Vault;
  /** For the cluster record, if there is none yet. */
  readonly clusterOptions?: ClusterOptions;
  readonly listen: { readonly host: string; readonly port: number };
  /** The same after a restart: the manager then knows which sessions were its own. Default "manager". */
  readonly managerId?: string;
  /** Default 2000. */
  readonly withdrawTimeoutMs?: number;
  /** Lets new managers in; absent: it stays the only one. */
  readonly door?: ManagerDoor;
  /** Ids of the managers that are alive; undefined while this manager does not lead. Default: it judges its own nodes only. */
  readonly judges?: () => ReadonlySet<string> | undefined;
  /** The other managers that are alive. Default: there are none. */
  readonly peers?: () => readonly { readonly id: string; readonly address: string }[];
  /** host:port of the manager that leads; undefined when that is this one, or nobody. Default: there are no others. */
  readonly leaderAddress?: () => string | undefined;
  /** What new machines install; absent: nothing. */
  readonly release?: ReleaseShelf;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly signal: AbortSignal;
}

export interface RunningDispatcher {
  /** Reaches the nodes of other managers too. */
  readonly gateway: NodeGateway;
  readonly hasSession: (nodeId: string) => boolean;
  /** Ends all sessions: nodes go to another manager, or come back. */
  readonly sendAway: (reason: string) => void;
  readonly address: { readonly host: string; readonly port: number };
  readonly cluster: Cluster;
  readonly authority: Authority;
  readonly counts: () => DispatcherCounts;
  readonly usage: UsageSource;
  /** Closes all sessions and the port. Aborting the signal does the same, but nobody can wait for it. */
  close(): Promise<void>;
}

/** Loads or creates the cluster record, listens, and serves nodes until closed. Rejects when it can not listen. */
export async function startDispatcher(options: StartDispatcherOptions): Promise<RunningDispatcher> {
  const { store, vault, logger, listen, clock = systemClock, managerId = 'manager' } = options;
  const { withdrawTimeoutMs = DEFAULT_WITHDRAW_TIMEOUT_MS, door, release } = options;
  const ending = new AbortController();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  const cluster = await loadOrCreateCluster(store, vault, options.clusterOptions ?? {}, clock.now(), signal);
  const authority = (): Promise<Authority> => authorityOf(store.get('cluster', 'self') ?? cluster, vault);
  const hosts = serverNames(listen.host);
  const own = await ManagerCertificate.make({ store, authority, managerId, hosts, clock, logger });
  const records = recordsOf(options, managerId, clock);
  const refusals = new Refusals(logger);
  const isManager = (id: string): boolean => store.get('managers', id) !== undefined;
  const tls = () => ({ ...own.tls, isManager });
  const links = new ManagerLinks({ ...options, clock, managerId, tls, signal });
  const dispatcher = new Dispatcher({
    ...{ store, vault, records, managerId, withdrawTimeoutMs, clock, refusals, logger, signal },
    nodeDownAfterMs: cluster.nodeDownAfterMs,
    steadyMs: () => performance.now(),
    askOthers: (taskIds, revision) => links.withdrawals.ask(taskIds, revision),
    onUsage: (nodeId, tasks) => links.usage.send(nodeId, tasks),
    onOpened: (session) => certificates.opened(session),
  });
  const sessions = (): Iterable<NodeSession> => dispatcher.sessions();
  const certificates = new NodeCertificates({ store, authority, records, sessions, clock, logger, signal });
  links.dispatcher = dispatcher;
  const server = await startServer({
    authority: () => own.authority,
    tls: own.tls,
    trustOf: (nodeId) => store.get('nodes', nodeId)?.certificate?.trust,
    listen,
    admission: expecting(admission({ store, vault, records, clock, logger }), dispatcher),
    onSocket: (socket, node) => dispatcher.onSocket(socket, node),
    onManager: (socket, otherId, wants) => links.serve(socket, otherId, wants),
    door,
    release,
    refusals,
    logger,
    signal,
  }).catch((error: unknown) => {
    certificates.close();
    dispatcher.close();
    throw error;
  });
  const ends = [
    own.keep((tls) => server.use(tls)),
    watchRotation({ store, vault, clock, logger, signal }),
    ...[certificates, links, dispatcher].map((part) => () => part.close()),
  ];
  const close = async (): Promise<void> => {
    ending.abort();
    for (const end of ends) end();
    await server.close();
  };
  options.signal.addEventListener('abort', () => void close(), { once: true });
  const counts = countsOf(dispatcher, certificates, server, refusals);
  return {
    gateway: gatewayOf(dispatcher, links.relays),
    hasSession: (nodeId) => dispatcher.session(nodeId) !== undefined,
    sendAway: (reason) => dispatcher.sendAway(reason),
    address: server.address,
    cluster,
    get authority() {
      return own.authority;
    },
    counts,
    usage: dispatcher.usages,
    close,
  };
}

function countsOf(
  dispatcher: Dispatcher,
  certificates: NodeCertificates,
  server: RunningServer,
  { counts: refused }: Refusals,
): () => DispatcherCounts {
  return () => ({
    ...dispatcher.counts,
    certificates: certificates.counts,
    strangers: server.strangers(),
    refused,
  });
}

function recordsOf(
  { store, logger, judges }: StartDispatcherOptions,
  managerId: string,
  clock: Clock,
): NodeRecords {
  return new NodeRecords(store, managerId, clock, logger, (id) => judges?.()?.has(id) === false);
}

/** Whom it lets in is expected to open a session. */
function expecting(door: Admission, dispatcher: Dispatcher): Admission {
  return {
    admit: async (request, signal) => {
      const joined = await door.admit(request, signal);
      dispatcher.expect(joined.nodeId);
      return joined;
    },
  };
}

/** Agents look at the role in the certificate, not at names; people's tools look at names. */
function serverNames(host: string): readonly string[] {
  const anyAddress = host === '0.0.0.0' || host === '::';
  return anyAddress ? ['localhost', '127.0.0.1'] : ['localhost', '127.0.0.1', host];
}

function gatewayOf(dispatcher: Dispatcher, relays: Relays): NodeGateway {
  const callsOf = (nodeId: string): Promise<SessionCalls> => {
    const session = dispatcher.session(nodeId);
    return session === undefined ? relays.callsTo(nodeId) : Promise.resolve(session.calls);
  };
  return {
    connected: (nodeId) => dispatcher.session(nodeId) !== undefined || relays.reaches(nodeId),
    call: async (nodeId, method, params, signal) => (await callsOf(nodeId)).call(method, params, signal),
    stream: async function* (nodeId, method, params, signal, windowBytes) {
      yield* (await callsOf(nodeId)).stream(method, params, undefined, signal, windowBytes);
    },
    duplex: async function* (nodeId, method, params, input, signal) {
      yield* (await callsOf(nodeId)).stream(method, params, input, signal);
    },
  };
}
