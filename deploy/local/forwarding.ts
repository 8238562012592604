/** The one setting of the machine that a local cluster changes: its hosts reach the outside only if it forwards. */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Layout } from './layout.ts';

const SWITCH = '/proc/sys/net/ipv4/ip_forward';
const NOTE = 'ip_forward.before';

/** Turns forwarding on and notes that it was off. */
export async function enableForwarding(layout: Layout): Promise<void> {
  if ((await readFile(SWITCH, 'utf8')).trim() === '1') return;
  await writeFile(path.join(layout.stateDir, NOTE), '0\n');
  await writeFile(SWITCH, '1\n');
}

/** Turns it off again if this cluster turned it on and no other Shoal cluster is here. */
export async function restoreForwarding(layout: Layout): Promise<void> {
  const note = await readFile(path.join(layout.stateDir, NOTE), 'utf8').catch(() => undefined);
  if (note === undefined) return;
  const others = (await readdir('/run/netns').catch(() => [])).some((name) => name.startsWith('shoal-'));
  if (!others) await writeFile(SWITCH, note).catch(() => undefined);
}
