/** Connections in a lab that stay open. */
import { spawn } from 'node:child_process';
import type { ExecutionContext } from 'ava';
import { type NetworkLab, until } from './network-lab.ts';

export interface Talk {
  say(text: string): Promise<void>;
  hears(text: string): Promise<void>;
  send(text: string): void;
  ended(): boolean;
}

/** A connection that stays open; what is said comes back. */
export async function talk(
  net: NetworkLab,
  t: ExecutionContext,
  task: string,
  to: string,
  port = 80,
): Promise<Talk> {
  const client = spawn('nsenter', [`--net=${net.containerNs(task)}`, 'busybox', 'nc', to, String(port)]);
  t.teardown(() => client.kill('SIGKILL'));
  let heard = '';
  client.stdout.on('data', (data: Buffer) => {
    heard += data.toString();
  });
  await until('greeting', async () => heard.includes(' saw '));
  const hears = (text: string): Promise<void> => until(text, async () => heard.includes(text));
  const send = (text: string): void => void client.stdin.write(`${text}\n`);
  return {
    send,
    ended: () => client.exitCode !== null,
    say: async (text) => {
      send(text);
      await hears(text);
    },
    hears,
  };
}
