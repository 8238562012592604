/** Removes all that a local cluster made, in whatever state it was left: nothing here needs a process of it alive. */
import { existsSync } from 'node:fs';
import { readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { killCgroup, removeCgroup } from './cgroups.ts';
import { tryRun } from './command.ts';
import { restoreForwarding } from './forwarding.ts';
import { describeInventory, takeInventory } from './inventory.ts';
import type { Layout } from './layout.ts';
import { clusterProcesses, signalProcess, waitGone, type ProcessInfo } from './proc.ts';

/** In the state directory and the run directory: they are ours to remove. */
export const MARKER = 'cluster.json';

export const markerSchema = z.object({
  name: z.string(),
  stateDir: z.string(),
  runDir: z.string(),
  /** Who made it; tests look whether it still lives. */
  ownerPid: z.number().int(),
  ownerStartTime: z.string(),
});
export type Marker = z.infer<typeof markerSchema>;

/** What `up` noted in this directory; undefined when it is not one of its own. */
export async function readMarker(directory: string): Promise<Marker | undefined> {
  try {
    return markerSchema.parse(JSON.parse(await readFile(path.join(directory, MARKER), 'utf8')));
  } catch {
    return undefined;
  }
}

const TERM_GRACE_MS = 5_000;
const KILL_GRACE_MS = 10_000;

/** Asks them to end, then makes them. Monitors are left to the cgroups' turn: they end with their containers. */
async function stopProcesses(processes: readonly ProcessInfo[]): Promise<void> {
  const asked = processes.filter((info) => !info.command.includes('shoal-monitor'));
  for (const info of asked) await signalProcess(info, 'SIGTERM');
  const left = await waitGone(asked, TERM_GRACE_MS);
  for (const info of left) await signalProcess(info, 'SIGKILL');
  await waitGone(left, KILL_GRACE_MS);
}

async function killRest(layout: Layout, except: readonly number[]): Promise<void> {
  const rest = await clusterProcesses(layout.stateDir, layout.runDir, except);
  for (const info of rest) await signalProcess(info, 'SIGKILL');
  await waitGone(rest, KILL_GRACE_MS);
}

async function removeKernelObjects(layout: Layout, signal: AbortSignal): Promise<void> {
  const there = await takeInventory(layout, signal);
  for (const target of there.mounts) await tryRun('umount', ['--lazy', target], signal);
  for (const name of there.netns) await tryRun('ip', ['netns', 'delete', name], signal);
  for (const name of there.links) await tryRun('ip', ['link', 'delete', name], signal);
  for (const { family, name } of there.tables) {
    await tryRun('nft', ['delete', 'table', family, name], signal);
  }
  await removeCgroup(layout.cgroup);
}

async function removeDirectories(layout: Layout, signal: AbortSignal): Promise<void> {
  // what is still mounted must not be emptied
  if ((await takeInventory(layout, signal)).mounts.length > 0) return;
  for (const directory of [layout.runDir, layout.stateDir]) {
    if (!existsSync(directory)) continue;
    await requireOwn(directory);
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Removes the cluster and resolves with one line for each thing that would not go. `except` are processes to spare.
 * Throws InvalidError when a directory of this name was not made by `shoal up`.
 */
export async function removeCluster(
  layout: Layout,
  signal: AbortSignal,
  except: readonly number[] = [],
): Promise<string[]> {
  const before = await takeInventory(layout, signal, except);
  for (const directory of before.directories) await requireOwn(directory);
  await stopProcesses(before.processes);
  await killCgroup(layout.cgroup, KILL_GRACE_MS);
  await killRest(layout, except);
  await removeKernelObjects(layout, signal);
  await restoreForwarding(layout);
  await removeDirectories(layout, signal);
  return describeInventory(await takeInventory(layout, signal, except));
}

async function requireOwn(directory: string): Promise<void> {
  if ((await readMarker(directory)) !== undefined) return;
  if ((await readdir(directory)).length === 0) return;
  throw new InvalidError(
    `${directory} was not made by 'shoal up' (it has no ${MARKER}), so it is left alone: name other directories ` +
      'with --state-dir and --run-dir, or move it away',
  );
}
