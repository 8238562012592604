/** `shoal token`: the secret that lets a host join. */
import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

const swarmSchema = z.object({ JoinTokens: z.object({ Worker: z.string(), Manager: z.string() }) });

export function addToken(program: Command): void {
  const command = program
    .command('token')
    .description('print the token with which a host joins: shoal agent --join TOKEN HOST:PORT')
    .addArgument(
      new Argument('[role]', 'what the host will be').choices(['worker', 'manager']).default('worker'),
    );
  addSocketOptions(command).action(async (role: 'worker' | 'manager', flags: SocketFlags) => {
    const swarm = swarmSchema.parse(await clientOf(flags).get('/swarm', signalOfInterrupts()));
    process.stdout.write(`${role === 'manager' ? swarm.JoinTokens.Manager : swarm.JoinTokens.Worker}\n`);
  });
}
