/** The process that made a cluster and watches over it. */
import { readMarker } from './cleanup.ts';
import type { Layout } from './layout.ts';
import { readProcess, signalProcess, waitGone, type ProcessInfo } from './proc.ts';

const REMOVAL_MS = 60_000;

/** It, if it lives: the pid alone would not do, another process may have it by now. */
export async function liveOwner(layout: Layout): Promise<ProcessInfo | undefined> {
  const marker = (await readMarker(layout.runDir)) ?? (await readMarker(layout.stateDir));
  if (marker === undefined || marker.ownerPid === process.pid) return undefined;
  const owner = await readProcess(marker.ownerPid);
  return owner?.startTime === marker.ownerStartTime ? owner : undefined;
}

/** Lets it remove its cluster; when it does not end, kills it (the caller removes what is left). */
export async function stopOwner(layout: Layout): Promise<void> {
  const owner = await liveOwner(layout);
  if (owner === undefined) return;
  await signalProcess(owner, 'SIGTERM');
  const left = await waitGone([owner], REMOVAL_MS);
  for (const info of left) await signalProcess(info, 'SIGKILL');
  await waitGone(left, REMOVAL_MS);
}
