/** What a manager replaces together with the others: the data key, and the root of etcd's authority. */
import type { UndoStack } from '../shared/lib/undo-stack.ts';
import type { Clock } from '../shared/lib/clock.ts';
import type { Logger } from '../shared/model/index.ts';
import { authorityOf } from './ca/cluster.ts';
import { type AskingManager, fetchDataKeys, fetchEtcdRoots } from './membership/enter.ts';
import { EtcdRootRotation } from './membership/etcd-root-rotation.ts';
import type { EmbeddedEtcd } from './store/embedded-etcd.ts';
import type { Store } from './store/store.ts';
import { parseKeys } from './vault/data-key-file.ts';
import { KeyRotation } from './vault/key-rotation.ts';
import type { Vault } from './vault/seal.ts';

export interface RotatingManager {
  readonly store: Store;
  readonly embedded: EmbeddedEtcd | undefined;
  readonly vault: Vault;
  readonly managerId: string;
  readonly stateDir: string;
  readonly leads: () => boolean;
  readonly alive: () => ReadonlySet<string>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Both go on in the background until the signal aborts; the stack waits for their ends. */
export function keepRotating(
  manager: RotatingManager,
  stack: UndoStack,
  signal: AbortSignal,
): { readonly dataKeys: KeyRotation; readonly etcdRoots: EtcdRootRotation } {
  const { embedded } = manager;
  const asOneself = (): Promise<AskingManager> => identityOf(manager);
  const dataKeys = new KeyRotation({
    ...manager,
    fetchKeys: async ({ address }, until) =>
      parseKeys(await fetchDataKeys(address, await asOneself(), until)),
  });
  const etcdRoots = new EtcdRootRotation({
    ...manager,
    etcd: embedded,
    fetchRoots: async ({ address }, until) => fetchEtcdRoots(address, await asOneself(), until),
  });
  for (const ended of [dataKeys.run(signal), etcdRoots.run(signal)]) stack.defer(() => ended);
  return { dataKeys, etcdRoots };
}

/** For a question to another manager. */
async function identityOf({ store, vault, managerId, clock }: RotatingManager): Promise<AskingManager> {
  const cluster = store.get('cluster', 'self');
  if (cluster === undefined) throw new Error('the cluster has no record');
  const authority = await authorityOf(cluster, vault);
  const identity = await authority.issueIdentity({ nodeId: managerId, role: 'manager' }, clock.now());
  return { ...identity, isManager: (id) => store.get('managers', id) !== undefined };
}
