/** Where the clusters of tests are, and what is left there of runs that were killed. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { readMarker, removeCluster } from '../../deploy/local/cleanup.ts';
import { type Layout, makeLayout } from '../../deploy/local/layout.ts';
import { freePortBase } from '../../deploy/local/ports.ts';
import { readProcess } from '../../deploy/local/proc.ts';

export const STATE_ROOT = '/var/tmp/shoal.test';
export const RUN_ROOT = '/run/shoal.test';
const PORT_SPAN = { from: 14_000, to: 30_000 };

/** Of a name and ports that nobody uses. */
export async function newLayout(): Promise<Layout> {
  const name = `t${Math.random().toString(36).slice(2, 9)}`;
  const start = PORT_SPAN.from + Math.floor(Math.random() * (PORT_SPAN.to - PORT_SPAN.from));
  const portBase = await freePortBase(start, 4);
  return makeLayout({
    name,
    portBase,
    stateDir: path.join(STATE_ROOT, name),
    runDir: path.join(RUN_ROOT, name),
  });
}

/** Removes the clusters of test runs that were killed: their marker names a process that no longer lives. */
export async function sweep(signal: AbortSignal): Promise<void> {
  for (const name of await readdir(STATE_ROOT).catch(() => [])) {
    const marker = await readMarker(path.join(STATE_ROOT, name));
    if (marker === undefined) continue;
    if ((await readProcess(marker.ownerPid))?.startTime === marker.ownerStartTime) continue;
    const { stateDir, runDir } = marker;
    await removeCluster(makeLayout({ name: marker.name, portBase: 1, stateDir, runDir }), signal);
  }
}
