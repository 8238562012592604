/**
 * The settings of the machine that a local cluster changes: its hosts reach the outside only if it forwards. IPv4 is switched here,
 * IPv6 by the agent that is the machine itself, if it can have it at all.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Layout } from './layout.ts';

const IPV4 = { setting: '/proc/sys/net/ipv4/ip_forward', note: 'ip_forward.before' };
const IPV6 = { setting: '/proc/sys/net/ipv6/conf/all/forwarding', note: 'ip6_forward.before' };

/** Turns forwarding on, and notes what was off. */
export async function enableForwarding(layout: Layout): Promise<void> {
  for (const { setting, note } of [IPV4, IPV6]) {
    const before = await readFile(setting, 'utf8').catch(() => undefined);
    if (before?.trim() === '0') await writeFile(path.join(layout.stateDir, note), '0\n');
  }
  await writeFile(IPV4.setting, '1\n');
}

/** Turns off what was off before this cluster, if no other Shoal cluster is here. */
export async function restoreForwarding(layout: Layout): Promise<void> {
  const others = (await readdir('/run/netns').catch(() => [])).some((name) => name.startsWith('shoal-'));
  for (const { setting, note } of [IPV4, IPV6]) {
    const before = await readFile(path.join(layout.stateDir, note), 'utf8').catch(() => undefined);
    if (before !== undefined && !others) await writeFile(setting, before).catch(() => undefined);
  }
}
