/** `shoal token`: the secret that lets a host join, or the whole command for a fresh machine. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { signalOfInterrupts } from './fail.ts';
import { nodeCommand } from './node-command.ts';
import { parseHostPort } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

const swarmSchema = z.object({ JoinTokens: z.object({ Worker: z.string(), Manager: z.string() }) });

type Role = 'worker' | 'manager' | 'agent';

interface TokenFlags extends SocketFlags {
  manager?: string;
}

export function addToken(program: Command): void {
  const command = program
    .command('token')
    .description('print the token with which a host joins: shoal agent --join TOKEN HOST:PORT')
    .addArgument(
      new Argument('[role]', 'what the host will be; agent: print the command that installs it and joins')
        .choices(['worker', 'manager', 'agent'])
        .default('worker'),
    )
    .option('--manager <host:port>', 'of agent: where the new machine reaches a manager', (text: string) => {
      parseHostPort(text);
      return text;
    });
  addSocketOptions(command).action(async (role: Role, flags: TokenFlags) => {
    const api = clientOf(flags);
    const { JoinTokens } = swarmSchema.parse(await api.get('/swarm', signalOfInterrupts()));
    process.stdout.write(`${await textFor(role, JoinTokens, flags.manager, api.socket)}\n`);
  });
}

async function textFor(
  role: Role,
  tokens: { readonly Worker: string; readonly Manager: string },
  manager: string | undefined,
  socket: string,
): Promise<string> {
  switch (role) {
    case 'worker':
      return tokens.Worker;
    case 'manager':
      return tokens.Manager;
    case 'agent':
      return nodeCommand(manager ?? (await advertised(socket)), tokens.Worker);
  }
}

/** What the manager of this socket tells agents to connect to: it notes that beside the socket. */
async function advertised(socket: string): Promise<string> {
  const file = path.join(path.dirname(socket), 'manager', 'manager.json');
  try {
    return z.object({ address: z.string() }).parse(JSON.parse(await readFile(file, 'utf8'))).address;
  } catch (cause) {
    throw new InvalidError(`${file} does not say where agents reach the manager: say it with --manager`, {
      cause,
    });
  }
}
