import { readdir } from 'node:fs/promises';
import { listNft } from '../native/network.ts';
import type { DesiredChange } from './desired-tracker.ts';
import { Kernel } from './kernel.ts';
import { prefixInName } from './names.ts';

const NOTHING: DesiredChange = { host: { whole: true, objects: new Map() }, sandboxes: new Map() };

/** Removes the sandboxes of every node of the cluster on this machine, and what they have in this host's namespace. */
export async function removeAll(clusterName: string, netnsDir: string): Promise<void> {
  const names = [...(await readdir(netnsDir).catch(() => [])), ...(await tableNames())];
  const prefixes = new Set(names.flatMap((name) => prefixInName(clusterName, name) ?? []));
  for (const prefix of prefixes) {
    const kernel = new Kernel(prefix, netnsDir);
    await kernel.carryOut(await kernel.plan(NOTHING), NOTHING);
  }
}

async function tableNames(): Promise<string[]> {
  const { nftables } = (await listNft(null, 'list tables')) as {
    nftables: readonly { table?: { name: string } }[];
  };
  return nftables.flatMap(({ table }) => table?.name ?? []);
}
