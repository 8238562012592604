/** The store on the etcd that the options name; an embedded one is started, maintained and stopped with the manager. */
import { isIP } from 'node:net';
import { join } from 'node:path';
import { describeError } from '../../shared/errors/index.ts';
import type { UndoStack } from '../../shared/lib/undo-stack.ts';
import type { Logger, ManagerOptions } from '../../shared/model/options.ts';
import { startEmbeddedEtcd, type EmbeddedEtcd } from '../store/embedded-etcd.ts';
import { createEtcdClient, type EtcdClientOptions } from '../store/etcd-client.ts';
import { MemberRemovedError } from '../store/etcd-failure.ts';
import { type EtcdMember, urlHost } from '../store/etcd-process.ts';
import { maintainEtcd } from '../store/maintenance.ts';
import { openStore, type OpenStore } from '../store/open-store.ts';
import { ensureSchema } from '../store/schema.ts';
import type { StoreObserver } from '../store/store.ts';
import { joinedCluster, noteRemoved } from './enter.ts';
import { publishPeerUrl } from './etcd-members.ts';
import { hostOf } from './managers.ts';

export interface OwnStore {
  readonly store: OpenStore;
  /** Absent with an external etcd. */
  readonly embedded?: EmbeddedEtcd;
}

/** Where the etcds of other managers reach this one's; undefined when it has none. */
export function ownPeerUrl({ etcd, advertise }: ManagerOptions): string | undefined {
  return etcd.kind === 'embedded' ? `https://${urlHost(hostOf(advertise), etcd.peerPort)}` : undefined;
}

/** Resolves once the tables are read. What it opens is closed by the stack. */
export async function openOwnStore(
  options: ManagerOptions,
  managerId: string,
  observer: StoreObserver,
  stack: UndoStack,
  signal: AbortSignal,
): Promise<OwnStore> {
  const { etcd, logger } = options;
  if (etcd.kind === 'external') {
    const reach = { endpoints: etcd.endpoints, ...(etcd.tls ? { tls: etcd.tls } : {}) };
    await prepareData(reach, logger, signal);
    return { store: stack.use(await openStore({ ...reach, observer, logger, signal })) };
  }
  const embedded = stack.use(await startOwnEtcd(options, managerId, signal));
  await prepareData(embedded.reach, logger, signal);
  const store = stack.use(await openStore({ ...embedded.reach, observer, logger, signal }));
  const peerUrl = ownPeerUrl(options);
  if (peerUrl !== undefined) {
    await publishPeerUrl(store.client, peerUrl).catch((error: unknown) =>
      logger.warn({ peerUrl, error: describeError(error) }, 'the other managers were not told this address'),
    );
  }
  const { directory } = embedded;
  const maintained = maintainEtcd({ client: store.client, directory, logger }, signal);
  stack.defer(() => maintained);
  return { store, embedded };
}

async function startOwnEtcd(
  options: ManagerOptions,
  managerId: string,
  signal: AbortSignal,
): Promise<EmbeddedEtcd> {
  const { etcd, stateDir, listen, logger } = options;
  const peerUrl = ownPeerUrl(options);
  if (etcd.kind !== 'embedded' || peerUrl === undefined)
    throw new Error('this manager has no etcd of its own');
  const joins = await joinedCluster(stateDir);
  const member: EtcdMember = {
    name: managerId,
    peerUrl,
    listenHost: isIP(listen.host) === 0 ? '0.0.0.0' : listen.host,
    ...(joins === undefined ? {} : { joins }),
  };
  const ports = { client: etcd.clientPort, peer: etcd.peerPort };
  const quota = etcd.quotaBytes === undefined ? {} : { quotaBytes: etcd.quotaBytes };
  const directory = join(stateDir, 'etcd');
  try {
    return await startEmbeddedEtcd({ directory, ports, member, ...quota, logger, signal });
  } catch (error) {
    if (error instanceof MemberRemovedError) await noteRemoved(stateDir);
    throw error;
  }
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
