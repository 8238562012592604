/** A swarm of two of the distribution's docker daemons, each a host of its own on a bridge: the peer of a benchmark. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { UndoStack } from '../../shared/lib/undo-stack.ts';
import { type Dockerd, importBusybox, startDockerd } from './dockerd.ts';

const run = promisify(execFile);

/** Where the two are plugged in. */
export interface Lan {
  readonly bridge: string;
  /** The network namespace that the bridge is in, as a name; this process's own without one. */
  readonly netns?: string;
  /** The two hosts' addresses, in one /24. */
  readonly addresses: readonly [string, string];
  /** The image of busybox is known to both as this. */
  readonly image: string;
}

export interface DockerdSwarm {
  readonly manager: Dockerd;
  readonly worker: Dockerd;
  /** Pulls the worker's cable, or puts it back. */
  readonly cable: (state: 'up' | 'down') => Promise<void>;
}

/** Both are stopped by `undo`. */
export async function startDockerdSwarm(lan: Lan, undo: UndoStack): Promise<DockerdSwarm> {
  const manager = undo.use(await startDockerd());
  const worker = undo.use(await startDockerd([], 'second'));
  const [first, second] = lan.addresses;
  await plug(manager, lan, 1, first);
  await plug(worker, lan, 2, second);
  for (const dockerd of [manager, worker]) await importBusybox(dockerd, lan.image);
  await manager.docker('swarm', 'init', '--advertise-addr', first);
  const token = (await manager.docker('swarm', 'join-token', '-q', 'worker')).trim();
  await worker.docker('swarm', 'join', '--token', token, '--advertise-addr', second, `${first}:2377`);
  return { manager, worker, cable: (state) => onLan(lan, ['link', 'set', port(lan, 2), state]) };
}

/** Gives the daemon's namespace an address on the bridge. */
async function plug(dockerd: Dockerd, lan: Lan, number: number, address: string): Promise<void> {
  const [pid] = await dockerd.pids();
  const peer = ['peer', 'name', 'eth0', 'netns', String(pid)];
  const inside = ['-t', String(pid), '-n', '-u', '--', 'ip'];
  await onLan(lan, ['link', 'add', port(lan, number), 'type', 'veth', ...peer]);
  await onLan(lan, ['link', 'set', port(lan, number), 'master', lan.bridge, 'up']);
  await run('nsenter', [...inside, 'addr', 'add', `${address}/24`, 'dev', 'eth0']);
  await run('nsenter', [...inside, 'link', 'set', 'eth0', 'up']);
}

function port({ bridge }: Lan, number: number): string {
  return `${bridge}-${number}`;
}

async function onLan({ netns }: Lan, args: readonly string[]): Promise<void> {
  await run('ip', [...(netns === undefined ? [] : ['-n', netns]), ...args]);
}
