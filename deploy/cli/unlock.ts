/** `shoal unlock`: lets a locked manager of this machine start, as `docker swarm unlock` does. */
import type { Command } from 'commander';
import { InvalidError } from '../../shared/errors/index.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

const MAX_BYTES = 1024;

export function addUnlock(program: Command): void {
  const command = program
    .command('unlock')
    .description('unlock a manager that was started: the key (SWMKEY-1-...) is read from standard input');
  addSocketOptions(command).action(async (flags: SocketFlags) => {
    const text = JSON.stringify({ UnlockKey: await firstLine() });
    const body = { type: 'application/json', text } as const;
    await clientOf(flags).call('POST', '/swarm/unlock', body, signalOfInterrupts());
    process.stdout.write('unlocked\n');
  });
}

/** Not an argument: those are seen by everybody on the machine. */
async function firstLine(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.includes('\n') || text.length > MAX_BYTES) break;
  }
  const [line = ''] = text.split('\n');
  if (line.trim() === '') throw new InvalidError('no key was given: shoal unlock <FILE');
  return line.trim();
}
