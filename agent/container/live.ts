/** Containers that run, for the networks that change under them. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Containers } from './containers.ts';

/** Path of the network namespace of the task's container; undefined when none runs. */
export async function liveNetns(containers: Containers, taskId: string): Promise<string | undefined> {
  const record = containers.ofTask(taskId);
  if (record === undefined || record.exit !== undefined) return undefined;
  const state = await containers.state(record.id).catch(() => undefined);
  return state?.status === 'running' ? `/proc/${state.pid}/ns/net` : undefined;
}

/**
 * Names other servers in the container's /etc/resolv.conf. In place, for the file is mounted; and only while it says nothing
 * else than what was written there at the start.
 */
export async function renewResolvConf(containers: Containers, taskId: string, text: string): Promise<void> {
  const record = containers.ofTask(taskId);
  if (record === undefined) return;
  const path = join(containers.directory(record.id), 'resolv.conf');
  const now = await readFile(path, 'utf8').catch(() => undefined);
  if (now === undefined || now === text || withoutServers(now) !== withoutServers(text)) return;
  await writeFile(path, text);
}

function withoutServers(text: string): string {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('nameserver '))
    .join('\n');
}
