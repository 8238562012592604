/** What exists on this machine of a cluster: the same list decides what to remove and whether all of it is gone. */
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { z } from 'zod';
import { cgroupDirectories } from './cgroups.ts';
import { tryRun } from './command.ts';
import { ownsTable, type Layout } from './layout.ts';
import { clusterProcesses, type ProcessInfo } from './proc.ts';

export interface Inventory {
  readonly processes: readonly ProcessInfo[];
  /** The deepest first. */
  readonly mounts: readonly string[];
  readonly netns: readonly string[];
  readonly links: readonly string[];
  readonly tables: readonly NftTable[];
  readonly cgroups: readonly string[];
  readonly directories: readonly string[];
}

export interface NftTable {
  readonly family: string;
  readonly name: string;
}

const linksSchema = z.array(z.object({ ifname: z.string() }));
const tablesSchema = z.object({
  nftables: z.array(z.object({ table: z.object({ family: z.string(), name: z.string() }).optional() })),
});

/** Mount points at and below the directories, the latest first. */
export async function mountsUnder(directories: readonly string[]): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  const targets = text.split('\n').flatMap((line) => {
    const target = line.split(' ')[4];
    return target === undefined ? [] : [unescapeMount(target)];
  });
  return targets
    .filter((target) => directories.some((own) => target === own || target.startsWith(`${own}/`)))
    .toReversed();
}

function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Tables in the machine's own namespace whose name this predicate likes. */
export async function nftTables(likes: (name: string) => boolean, signal: AbortSignal): Promise<NftTable[]> {
  const text = await tryRun('nft', ['-j', 'list', 'tables'], signal);
  if (text === undefined) return [];
  return tablesSchema
    .parse(JSON.parse(text))
    .nftables.flatMap((item) => (item.table === undefined ? [] : [item.table]))
    .filter((table) => likes(table.name));
}

async function ownLinks(layout: Layout, signal: AbortSignal): Promise<string[]> {
  const text = await tryRun('ip', ['-j', 'link', 'show'], signal);
  if (text === undefined) return [];
  return linksSchema
    .parse(JSON.parse(text))
    .map((link) => link.ifname)
    .filter((name) => name === layout.bridge || name.startsWith(layout.cablePrefix));
}

async function ownNetns(layout: Layout): Promise<string[]> {
  const names = await readdir('/run/netns').catch(() => []);
  return names.filter((name) => name.startsWith(layout.netnsPrefix));
}

/** Looks at the machine. `except`: processes that do not count, e.g. a command that asks. */
export async function takeInventory(
  layout: Layout,
  signal: AbortSignal,
  except: readonly number[] = [],
): Promise<Inventory> {
  const directories = [layout.runDir, layout.stateDir];
  return {
    processes: await clusterProcesses(layout.stateDir, layout.runDir, except),
    mounts: await mountsUnder(directories),
    netns: await ownNetns(layout),
    links: await ownLinks(layout, signal),
    tables: await nftTables((name) => ownsTable(layout, name), signal),
    cgroups: await cgroupDirectories(layout.cgroup),
    directories: directories.filter((directory) => existsSync(directory)),
  };
}

/** One line for each thing that is there; empty when nothing is. */
export function describeInventory(inventory: Inventory): string[] {
  return [
    ...inventory.processes.map((info) => `process ${info.pid}: ${info.command}`),
    ...inventory.mounts.map((target) => `mount ${target}`),
    ...inventory.netns.map((name) => `network namespace ${name}`),
    ...inventory.links.map((name) => `network interface ${name}`),
    ...inventory.tables.map((table) => `nftables table ${table.family} ${table.name}`),
    ...inventory.cgroups.map((directory) => `cgroup ${directory}`),
    ...inventory.directories.map((directory) => `directory ${directory}`),
  ];
}
