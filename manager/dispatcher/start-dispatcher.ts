/** Wires the dispatcher: certificate, server, sessions, gateway. */
import { UnavailableError } from '../../shared/errors/index.ts';
import { type Clock, systemClock } from '../../shared/lib/clock.ts';
import type { Cluster, Logger } from '../../shared/model/index.ts';
import type { Authority } from '../ca/authority.ts';
import { authorityOf, type ClusterOptions, loadOrCreateCluster } from '../ca/cluster.ts';
import type { UsageSource } from '../plan/view.ts';
import type { Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import { admission } from './admission.ts';
import type { DispatcherCounts } from './counts.ts';
import { Dispatcher } from './dispatcher.ts';
import { ManagerCertificate } from './manager-certificate.ts';
import { NodeCertificates } from './node-certificates.ts';
import type { NodeGateway } from './node-gateway.ts';
import { NodeRecords } from './node-records.ts';
import type { NodeSession } from './node-session.ts';
import type { ReleaseShelf } from './release-shelf.ts';
import { startServer } from './server.ts';

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
  /** What new machines install; absent: nothing. */
  readonly release?: ReleaseShelf;
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly signal: AbortSignal;
}

export interface RunningDispatcher {
  readonly gateway: NodeGateway;
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
  const ending = new AbortController();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  const cluster = await loadOrCreateCluster(store, vault, options.clusterOptions ?? {}, clock.now(), signal);
  const hosts = serverNames(listen.host);
  const authority = (): Promise<Authority> => authorityOf(store.get('cluster', 'self') ?? cluster, vault);
  const own = await ManagerCertificate.make({ store, authority, managerId, hosts, clock, logger });
  const records = new NodeRecords(store, managerId, clock, logger);
  const dispatcher = new Dispatcher({
    store,
    vault,
    records,
    managerId,
    nodeDownAfterMs: cluster.nodeDownAfterMs,
    withdrawTimeoutMs: options.withdrawTimeoutMs ?? DEFAULT_WITHDRAW_TIMEOUT_MS,
    steadyMs: () => performance.now(),
    clock,
    logger,
    signal,
    onOpened: () => certificates.opened(),
  });
  const sessions = (): Iterable<NodeSession> => dispatcher.sessions();
  const certificates = new NodeCertificates({ store, authority, records, sessions, clock, logger, signal });
  const door = admission({ store, vault, records, clock, logger });
  const server = await startServer({
    authority: () => own.authority,
    tls: own.tls,
    trustOf: (nodeId) => store.get('nodes', nodeId)?.certificate?.trust,
    listen,
    admission: {
      admit: async (request, joinSignal) => {
        const joined = await door.admit(request, joinSignal);
        dispatcher.expect(joined.nodeId);
        return joined;
      },
    },
    onSocket: (socket, nodeId, certificate) => dispatcher.onSocket(socket, nodeId, certificate),
    release: options.release,
    logger,
    signal,
  }).catch((error: unknown) => {
    certificates.close();
    dispatcher.close();
    throw error;
  });
  const release = own.keep((tls) => server.use(tls));
  const close = async (): Promise<void> => {
    ending.abort();
    release();
    certificates.close();
    dispatcher.close();
    await server.close();
  };
  options.signal.addEventListener('abort', () => void close(), { once: true });
  const counts = (): DispatcherCounts => dispatcher.counts;
  const { usages: usage } = dispatcher;
  return {
    gateway: gatewayOf(dispatcher),
    address: server.address,
    cluster,
    get authority() {
      return own.authority;
    },
    counts,
    usage,
    close,
  };
}

/** Agents look at the role in the certificate, not at names; people's tools look at names. */
function serverNames(host: string): readonly string[] {
  const anyAddress = host === '0.0.0.0' || host === '::';
  return anyAddress ? ['localhost', '127.0.0.1'] : ['localhost', '127.0.0.1', host];
}

function gatewayOf(dispatcher: Dispatcher): NodeGateway {
  const callsOf = (nodeId: string) => {
    const session = dispatcher.session(nodeId);
    if (session === undefined) throw new UnavailableError(`node ${nodeId} is not connected`);
    return session.calls;
  };
  return {
    connected: (nodeId) => dispatcher.session(nodeId) !== undefined,
    call: async (nodeId, method, params, signal) => callsOf(nodeId).call(method, params, signal),
    stream: async function* (nodeId, method, params, signal, windowBytes) {
      yield* callsOf(nodeId).stream(method, params, undefined, signal, windowBytes);
    },
    duplex: async function* (nodeId, method, params, input, signal) {
      yield* callsOf(nodeId).stream(method, params, input, signal);
    },
  };
}
