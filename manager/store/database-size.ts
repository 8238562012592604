import type { Etcd3 } from 'etcd3';

const TIMEOUT_MS = 1_000;

/** Of the etcd member that answers; undefined when none does within a second. */
export async function databaseSize(
  client: Etcd3,
): Promise<{ readonly bytes: number; readonly usedBytes: number } | undefined> {
  try {
    const status = await client.maintenance.status({ deadline: Date.now() + TIMEOUT_MS });
    return { bytes: Number(status.dbSize), usedBytes: Number(status.dbSizeInUse) };
  } catch {
    return undefined;
  }
}
