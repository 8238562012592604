/** What a manager knows of its own parts, for /health. */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { ManagerOptions } from '../shared/model/index.ts';
import type { HealthSources } from './api/context.ts';
import type { DiskFacts } from './api/ops/health.ts';
import { newestBackup } from './backup/schedule.ts';
import { listMembers } from './membership/etcd-members.ts';
import { dataFacts } from './membership/keep-forward.ts';
import { databaseSize } from './store/database-size.ts';
import { DEFAULT_QUOTA_BYTES } from './store/embedded-etcd.ts';
import type { OpenStore } from './store/open-store.ts';

export function healthSources(
  { backups, stateDir, name, etcd }: ManagerOptions,
  store: OpenStore,
  leads: () => boolean,
): HealthSources {
  const directory = backups?.directory ?? join(stateDir, 'backups');
  return {
    storeIsCurrent: () => store.current,
    storedData: () => dataFacts(store),
    etcdMembers: async () => {
      if (etcd.kind !== 'embedded' || !store.current) return undefined;
      const members = await listMembers(store.client).catch(() => undefined);
      const nameOf = (id: string): string => store.get('managers', id)?.hostname ?? id;
      return members?.map((one) => ({ name: nameOf(one.name), votes: !one.learner }));
    },
    etcdSpace: async () => {
      if (etcd.kind !== 'embedded' || !store.current) return undefined;
      const size = await databaseSize(store.client);
      return size === undefined ? undefined : { ...size, quotaBytes: etcd.quotaBytes ?? DEFAULT_QUOTA_BYTES };
    },
    disks: () => disksOf([stateDir, ...(backups === undefined ? [] : [directory])]),
    backups: async () =>
      backups === undefined
        ? undefined
        : { everyMs: backups.everyMs, newestAtMs: await newestBackup(directory, name), leads: leads() },
  };
}

/** A directory that is not there yet, or can not be asked, is left out. */
async function disksOf(directories: readonly string[]): Promise<DiskFacts[]> {
  const found = await Promise.all(
    directories.map(async (directory) => {
      const disk = await statfs(directory).catch(() => undefined);
      if (disk === undefined) return [];
      const { bavail, blocks, bsize } = disk;
      return [{ directory, freeBytes: bavail * bsize, totalBytes: blocks * bsize }];
    }),
  );
  return found.flat();
}
