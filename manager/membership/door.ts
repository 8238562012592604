/**
 * Lets a new manager in, in two steps. The token gets it a certificate and a record; with the certificate, so over mutual TLS, it
 * fetches what a manager must have: the data key, etcd's authority, a place among etcd's members. A removed manager has no
 * record, so its certificate opens nothing.
 */
import type { Etcd3 } from 'etcd3';
import {
  ConflictError,
  ForbiddenError,
  InvalidError,
  UnavailableError,
  UnsupportedError,
} from '../../shared/errors/index.ts';
import type { Clock } from '../../shared/lib/clock.ts';
import { newId } from '../../shared/lib/ids.ts';
import type { Logger, ManagerRecord } from '../../shared/model/index.ts';
import type { Handover, JoinRequest, JoinResponse } from '../../shared/wire/join.ts';
import type { RootMaterial } from '../ca/authority.ts';
import { authorityOf, openSecrets } from '../ca/cluster.ts';
import { judgeToken } from '../ca/tokens.ts';
import type { Store, Write } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import { removalWrites } from './removed.ts';
import { addLearner, listMembers, memberOf, removeMember } from './etcd-members.ts';

export interface ManagerDoor {
  /** Throws ForbiddenError for a token that lets no manager in, ConflictError when its address is a manager's. */
  invite(request: JoinRequest, signal: AbortSignal): Promise<JoinResponse>;
  /** `managerId` is what the certificate says. UnavailableError: try again. */
  enter(managerId: string, signal: AbortSignal): Promise<Handover>;
  /** The data keys, as in their file, for a manager that is in. Throws ForbiddenError for any other. */
  keys(managerId: string): string;
  /** The same of etcd's authority: all roots, also one that is not in use yet. */
  roots(managerId: string): Promise<readonly RootMaterial[]>;
}

export interface DoorOptions {
  readonly store: Store;
  /** Opens the secrets of join tokens. */
  readonly vault: Vault;
  readonly client: Etcd3;
  /** The data keys, a line each. */
  readonly dataKey: () => string;
  /** Of the embedded etcd; undefined when etcd is somebody else's. */
  readonly etcdRoots: () => Promise<readonly RootMaterial[] | undefined>;
  readonly version: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

const ADDRESS = /^(\[[0-9a-fA-F:]+\]|[^\s:/[\]]+):\d{1,5}$/;

export function managerDoor(options: DoorOptions): ManagerDoor {
  return {
    invite: (request, signal) => invite(options, request, signal),
    enter: (managerId, signal) => enter(options, managerId, signal),
    keys: (managerId) => {
      checkMember(options.store, managerId);
      return options.dataKey();
    },
    roots: async (managerId) => {
      checkMember(options.store, managerId);
      return (await options.etcdRoots()) ?? [];
    },
  };
}

function checkMember(store: Store, managerId: string): void {
  if (store.get('managers', managerId)?.state !== 'member')
    throw new ForbiddenError('this certificate is of no manager of the cluster');
}

async function invite(
  { store, vault, clock, logger, version, etcdRoots }: DoorOptions,
  request: JoinRequest,
  signal: AbortSignal,
): Promise<JoinResponse> {
  const { manager, csr, token, hostname } = request;
  if (manager === undefined) throw new InvalidError('the request says no address of the manager');
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined)
    throw new UnavailableError('the cluster is not set up yet: try again in a moment');
  const authority = await authorityOf(cluster, vault);
  const { joinSecrets } = openSecrets(vault, cluster);
  const verdict = judgeToken(cluster, joinSecrets, authority.digest, token, clock.now());
  const why =
    verdict.granted === undefined ? verdict.refused : 'the join token is for a worker, not for a manager';
  if (verdict.granted !== 'manager') {
    logger.warn({ hostname, why }, 'refused a manager');
    throw new ForbiddenError(why);
  }
  if ((await etcdRoots()) === undefined) {
    throw new UnsupportedError(
      'the managers of this cluster use an etcd that is not their own: give the new one --etcd and a copy of the data key',
    );
  }
  checkAddresses(manager);
  const cleared = clearPlace(store, manager, clock.now());
  const id = newId();
  const subject = { nodeId: id, role: 'manager' } as const;
  const certificate = await authority.issue(csr, subject, clock.now());
  const nowMs = clock.now();
  const value: ManagerRecord = {
    id,
    hostname,
    ...manager,
    state: 'joining',
    version,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
  await store.commit([...cleared, { table: 'managers', key: id, value, expect: 0 }], { signal });
  logger.info({ managerId: id, hostname, address: manager.address }, 'a manager is joining');
  return { nodeId: id, certificate, ca: authority.trustPem };
}

function checkAddresses({ address, peerUrl }: NonNullable<JoinRequest['manager']>): void {
  if (!ADDRESS.test(address))
    throw new InvalidError(`the manager's address '${address}': expected host:port`);
  if (!peerUrl.startsWith('https://') || !ADDRESS.test(peerUrl.slice('https://'.length)))
    throw new InvalidError(`the address '${peerUrl}' of its etcd: expected https://host:port`);
}

/** What an earlier attempt of the same machine has left goes; a manager that is in stays. */
function clearPlace(store: Store, wanted: NonNullable<JoinRequest['manager']>, nowMs: number): Write[] {
  const there = [...store.all('managers').values()].filter(
    (record) => record.address === wanted.address || record.peerUrl === wanted.peerUrl,
  );
  const member = there.find((record) => record.state === 'member');
  if (member !== undefined) {
    throw new ConflictError(
      `${wanted.address} is the address of the manager ${member.hostname} (${member.id}): if that one is lost, remove it ` +
        `first: shoal manager rm ${member.id}`,
    );
  }
  return removalWrites(
    store,
    there.map(({ id }) => id),
    nowMs,
  );
}

async function enter(options: DoorOptions, managerId: string, signal: AbortSignal): Promise<Handover> {
  const { store, client, dataKey, etcdRoots } = options;
  const record = store.get('managers', managerId);
  if (record?.state !== 'joining' || record.peerUrl === undefined) {
    throw new ForbiddenError('this certificate is of no manager that is joining: join with a token');
  }
  if (store.get('cluster', 'self')?.etcdRootRotation !== undefined)
    throw new UnavailableError("etcd's authority is being replaced (shoal ca): try again when that is done");
  const [root] = (await etcdRoots()) ?? [];
  if (root === undefined) throw new UnavailableError("etcd's authority is not here yet");
  const initialCluster = await takePlace(client, record.id, record.peerUrl);
  signal.throwIfAborted();
  return { dataKey: dataKey(), etcdRoot: root, initialCluster };
}

/** Adds the member; one of an attempt that was cut off, with data that may be lost, is replaced. */
async function takePlace(client: Etcd3, id: string, peerUrl: string): Promise<string> {
  const before = memberOf(await listMembers(client), { id, peerUrl });
  if (before !== undefined && !before.learner) {
    throw new ConflictError(`etcd has a voting member at ${peerUrl} already: remove its manager first`);
  }
  if (before !== undefined) await removeMember(client, before.id);
  const members = await addLearner(client, peerUrl);
  return members
    .flatMap((member) =>
      member.peerUrls.map((url) => `${member.peerUrls.includes(peerUrl) ? id : member.name}=${url}`),
    )
    .join(',');
}
