/** The members of the embedded etcd, as etcd itself knows them. */
import type { Etcd3 } from 'etcd3';
import { describeError, UnavailableError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';

export interface EtcdMemberView {
  /** etcd's number of it, decimal. */
  readonly id: string;
  /** Its manager's id; empty until it has started once. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly learner: boolean;
}

const TIMEOUT_MS = 5_000;
/** etcd refuses changes while a member is not connected to all that live, or has been for less than 5 s. */
const UNHEALTHY = 'unhealthy cluster';
const SETTLES_IN_MS = 8_000;
const RETRY_MS = 250;

/** Throws UnavailableError when etcd does not answer. */
export async function listMembers(client: Etcd3): Promise<EtcdMemberView[]> {
  const { members } = await ask('list the members of etcd', () => client.cluster.memberList({}, soon()));
  return members.map(({ ID, name, peerURLs, isLearner }) => ({
    id: ID,
    name,
    peerUrls: peerURLs,
    learner: isLearner,
  }));
}

/** Adds one that does not vote yet; resolves with all members then. */
export async function addLearner(client: Etcd3, peerUrl: string): Promise<EtcdMemberView[]> {
  await ask('add a member to etcd', () =>
    client.cluster.memberAdd({ peerURLs: [peerUrl], isLearner: true }, soon()),
  );
  return listMembers(client);
}

export async function removeMember(client: Etcd3, id: string): Promise<void> {
  await ask('remove a member of etcd', () => client.cluster.memberRemove({ ID: id }, soon()));
}

/** False while it has not caught up. */
export async function promoteMember(client: Etcd3, id: string): Promise<boolean> {
  return client.cluster.memberPromote({ ID: id }, soon()).then(
    () => true,
    () => false,
  );
}

/** Tells the others where this member is reached now; does nothing when they know. */
export async function publishPeerUrl(client: Etcd3, peerUrl: string): Promise<void> {
  const { header } = await client.maintenance.status(soon());
  const own = (await listMembers(client)).find((member) => member.id === header.member_id);
  if (own === undefined || (own.peerUrls.length === 1 && own.peerUrls[0] === peerUrl)) return;
  await ask('change the address of a member of etcd', () =>
    client.cluster.memberUpdate({ ID: own.id, peerURLs: [peerUrl] }, soon()),
  );
}

/** The member of a manager: by its name, or, before its first start, by its address. */
export function memberOf(
  members: readonly EtcdMemberView[],
  manager: { readonly id: string; readonly peerUrl?: string },
): EtcdMemberView | undefined {
  return (
    members.find((member) => member.name === manager.id) ??
    members.find((member) => manager.peerUrl !== undefined && member.peerUrls.includes(manager.peerUrl))
  );
}

async function ask<T>(what: string, work: () => Promise<T>): Promise<T> {
  const endMs = performance.now() + SETTLES_IN_MS;
  for (;;) {
    try {
      return await work();
    } catch (cause) {
      const said = describeError(cause);
      if (!said.includes(UNHEALTHY) || performance.now() > endMs)
        throw new UnavailableError(`can not ${what}: ${said}`, { cause });
    }
    await delay(RETRY_MS, AbortSignal.timeout(TIMEOUT_MS));
  }
}

function soon(): { deadline: number } {
  return { deadline: Date.now() + TIMEOUT_MS };
}
