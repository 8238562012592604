/** `shoal token`: the secret that lets a host join, or the whole command for a fresh machine; and those that were made. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { nodeCommand } from './node-command.ts';
import { parseHostPort, parsePeriod } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { formatTable } from './table.ts';

const swarmSchema = z.object({ JoinTokens: z.object({ Worker: z.string(), Manager: z.string() }) });
const madeSchema = z.object({ Token: z.string() });
const listSchema = z.array(
  z.object({
    ID: z.string(),
    Role: z.string(),
    CreatedAt: z.string(),
    ExpiresAt: z.string().optional(),
    RevokedAt: z.string().optional(),
    State: z.string(),
  }),
);

type Role = 'worker' | 'manager' | 'agent';

interface TokenFlags extends SocketFlags {
  manager?: string;
  expires?: number;
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
    .addOption(
      new Option(
        '--expires <duration>',
        'make a token of its own that ends then, e.g. 30m, 1h, 7d; 0: never',
      ).argParser(parsePeriod),
    )
    .option('--manager <host:port>', 'of agent: where the new machine reaches a manager', (text: string) => {
      parseHostPort(text);
      return text;
    });
  addSocketOptions(command).action(async (role: Role, flags: TokenFlags) => {
    const api = clientOf(flags);
    const token = await tokenFor(role === 'manager' ? 'manager' : 'worker', flags.expires, api);
    const text =
      role === 'agent' ? nodeCommand(flags.manager ?? (await advertised(api.socket)), token) : token;
    process.stdout.write(`${text}\n`);
  });
  addList(command);
  addRevoke(command);
}

function addList(command: Command): void {
  const list = command
    .command('ls')
    .description('list the tokens: the two that go on, those made with --expires, and which ended')
    .exitOverride();
  addSocketOptions(list).action(async (_flags: SocketFlags, self: Command) => {
    const api = clientOf(self.optsWithGlobals());
    const tokens = listSchema.parse(await api.get('/join-tokens', signalOfInterrupts()));
    const rows = tokens.map((one) => [
      one.ID,
      one.Role,
      one.State,
      one.CreatedAt,
      one.RevokedAt ?? one.ExpiresAt ?? '-',
    ]);
    process.stdout.write(`${formatTable(['id', 'role', 'state', 'created', 'ends'], rows)}\n`);
  });
}

function addRevoke(command: Command): void {
  const revoke = command
    .command('revoke')
    .description("end a token: it lets nobody in from then on (see 'shoal token ls')")
    .argument('<id>')
    .exitOverride();
  addSocketOptions(revoke).action(async (id: string, _flags: SocketFlags, self: Command) => {
    const path = `/join-tokens/${encodeURIComponent(id)}`;
    await clientOf(self.optsWithGlobals()).call('DELETE', path, undefined, signalOfInterrupts());
    process.stdout.write(`${id} is revoked\n`);
  });
}

/** The standing one, or one that is made for this. */
async function tokenFor(
  role: 'worker' | 'manager',
  expiresInMs: number | undefined,
  api: ApiClient,
): Promise<string> {
  const signal = signalOfInterrupts();
  if (expiresInMs === undefined) {
    const { JoinTokens } = swarmSchema.parse(await api.get('/swarm', signal));
    return role === 'manager' ? JoinTokens.Manager : JoinTokens.Worker;
  }
  const text = JSON.stringify({ Role: role, ExpiresInSeconds: expiresInMs / 1000 });
  const body = { type: 'application/json', text } as const;
  return madeSchema.parse(await api.call('POST', '/join-tokens', body, signal)).Token;
}

/** What the manager of this socket tells agents to connect to: it notes that beside the socket. */
async function advertised(socket: string | undefined): Promise<string> {
  if (socket === undefined)
    throw new InvalidError('say with --manager where the new machine reaches a manager');
  const file = path.join(path.dirname(socket), 'manager', 'manager.json');
  try {
    return z.object({ address: z.string() }).parse(JSON.parse(await readFile(file, 'utf8'))).address;
  } catch (cause) {
    throw new InvalidError(`${file} does not say where agents reach the manager: say it with --manager`, {
      cause,
    });
  }
}
