/** `shoal user`: who may use the API over TCP. Keys are made here, and never leave this machine. */
import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { USER_ROLES } from '../../shared/model/index.ts';
import { writePrivate } from '../../manager/vault/private-file.ts';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { collect, parsePeriod } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { formatTable } from './table.ts';

const credentialSchema = z.object({
  ID: z.string(),
  CreatedAt: z.string(),
  ExpiresAt: z.string().optional(),
  State: z.string(),
});
const userSchema = z.object({
  Name: z.string(),
  Role: z.string(),
  Stacks: z.array(z.string()).nullable(),
  Certificates: z.array(credentialSchema),
  Tokens: z.array(credentialSchema),
});
const issuedSchema = z.object({ Certificate: z.string(), CA: z.string() });
const tokenSchema = z.object({ ID: z.string(), Token: z.string() });

interface RightsFlags extends SocketFlags {
  role: string;
  stack: string[];
}

interface CertificateFlags extends SocketFlags {
  dir?: string;
  expires: number;
}

const DAY_MS = 86_400_000;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const at = (name: string, rest = ''): string => `/users/${encodeURIComponent(name)}${rest}`;

export function addUser(program: Command): void {
  const user = program.command('user').description('who may use the API over TCP: admin, operator or viewer');
  addAdd(user);
  addList(user);
  addSet(user);
  addRotate(user);
  addTokenCommand(user);
  addRevoke(user);
  addRemove(user);
  for (const command of user.commands) command.exitOverride();
}

function withRights(command: Command): Command {
  return command
    .addOption(new Option('--role <role>', 'what it may do').choices(USER_ROLES).makeOptionMandatory())
    .option('--stack <name>', 'only in this stack (repeatable); default: in all', collect, []);
}

function withCertificate(command: Command): Command {
  return command
    .option('--dir <dir>', 'where ca.pem, cert.pem and key.pem are written (default: ./NAME)')
    .addOption(
      new Option('--expires <duration>', 'how long the certificate is good')
        .argParser(parsePeriod)
        .default(365 * DAY_MS, '365d'),
    );
}

function addAdd(user: Command): void {
  const command = user
    .command('add')
    .description('make a user, with a certificate for `docker --tlsverify` and `shoal --host`')
    .argument('<name>');
  addSocketOptions(withCertificate(withRights(command))).action(
    async (name: string, flags: RightsFlags & CertificateFlags) => {
      const api = clientOf(flags);
      const directory = await emptyDirectory(flags.dir ?? name);
      const { role: Role, stack } = flags;
      await post(api, '/users', { Name: name, Role, Stacks: stack.length === 0 ? null : stack });
      try {
        await writeCertificate(api, name, directory, flags.expires, true);
      } catch (error) {
        await api.call('DELETE', at(name), undefined, signalOfInterrupts()).catch(() => undefined);
        throw error;
      }
      tellOfCertificate(name, directory);
    },
  );
}

function addRotate(user: Command): void {
  const command = user
    .command('rotate')
    .description('give a user a new certificate; what it had, tokens too, ends at once')
    .argument('<name>');
  addSocketOptions(withCertificate(command)).action(async (name: string, flags: CertificateFlags) => {
    const directory = path.resolve(flags.dir ?? name);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeCertificate(clientOf(flags), name, directory, flags.expires, false);
    tellOfCertificate(name, directory);
  });
}

function addTokenCommand(user: Command): void {
  const command = user
    .command('token')
    .description('print a new token of a user, for the header Authorization: Bearer TOKEN')
    .argument('<name>')
    .addOption(
      new Option('--expires <duration>', 'when it ends; 0: when it is revoked')
        .argParser(parsePeriod)
        .default(90 * DAY_MS, '90d'),
    );
  addSocketOptions(command).action(async (name: string, flags: SocketFlags & { expires: number }) => {
    const body = { ExpiresInSeconds: flags.expires / 1000 };
    say(tokenSchema.parse(await post(clientOf(flags), at(name, '/tokens'), body)).Token);
  });
}

function addList(user: Command): void {
  const command = user.command('ls').description('list users, and what they come in by');
  addSocketOptions(command).action(async (flags: SocketFlags) => {
    const users = z.array(userSchema).parse(await clientOf(flags).get('/users', signalOfInterrupts()));
    const rows = users.flatMap(({ Name, Role, Stacks, Certificates, Tokens }) => {
      const who = [Name, Role, Stacks === null ? '*' : Stacks.join(',')];
      const held = [
        ...Certificates.map((one) => ['certificate', one] as const),
        ...Tokens.map((one) => ['token', one] as const),
      ];
      if (held.length === 0) return [[...who, '-', '-', '-', '-']];
      return held.map(([kind, { ID, State, ExpiresAt }]) => [...who, kind, ID, State, ExpiresAt ?? '-']);
    });
    say(formatTable(['name', 'role', 'stacks', 'by', 'id', 'state', 'ends'], rows));
  });
}

function addSet(user: Command): void {
  const command = user
    .command('set')
    .description('change what a user may do; what it is doing ends')
    .argument('<name>');
  addSocketOptions(withRights(command)).action(async (name: string, flags: RightsFlags) => {
    const { role: Role, stack } = flags;
    await post(clientOf(flags), at(name, '/update'), { Role, Stacks: stack.length === 0 ? null : stack });
    say(name);
  });
}

function addRevoke(user: Command): void {
  const command = user
    .command('revoke')
    .description("end one certificate or token of a user (see 'shoal user ls')")
    .argument('<name>')
    .argument('<id>');
  addSocketOptions(command).action(async (name: string, id: string, flags: SocketFlags) => {
    const where = at(name, `/credentials/${encodeURIComponent(id)}`);
    await clientOf(flags).call('DELETE', where, undefined, signalOfInterrupts());
    say(id);
  });
}

function addRemove(user: Command): void {
  const command = user
    .command('rm')
    .description('remove a user: its certificates, tokens and connections end at once')
    .argument('<name>');
  addSocketOptions(command).action(async (name: string, flags: SocketFlags) => {
    await clientOf(flags).call('DELETE', at(name), undefined, signalOfInterrupts());
    say(name);
  });
}

function post(api: ApiClient, where: string, body: object): Promise<unknown> {
  return api.call(
    'POST',
    where,
    { type: 'application/json', text: JSON.stringify(body) },
    signalOfInterrupts(),
  );
}

async function writeCertificate(
  api: ApiClient,
  name: string,
  directory: string,
  expiresInMs: number,
  keep: boolean,
): Promise<void> {
  const { certificateRequest, generateKeys, privateKeyPem } = await import('../../shared/wire/keys.ts');
  const keys = await generateKeys();
  const body = {
    Request: await certificateRequest(keys),
    ExpiresInSeconds: expiresInMs / 1000,
    Keep: keep,
  };
  const issued = issuedSchema.parse(await post(api, at(name, '/certificate'), body));
  await writePrivate(path.join(directory, 'key.pem'), await privateKeyPem(keys.privateKey));
  await writePrivate(path.join(directory, 'cert.pem'), issued.Certificate);
  await writePrivate(path.join(directory, 'ca.pem'), issued.CA);
}

/** Made if it is missing. Throws InvalidError when there is a key already: it may be somebody's. */
async function emptyDirectory(directory: string): Promise<string> {
  const absolute = path.resolve(directory);
  await mkdir(absolute, { recursive: true, mode: 0o700 });
  const there = await stat(path.join(absolute, 'key.pem')).catch(() => undefined);
  if (there !== undefined)
    throw new InvalidError(`${path.join(absolute, 'key.pem')} is there already: name another --dir`);
  return absolute;
}

function tellOfCertificate(name: string, directory: string): void {
  say(`${directory}: ca.pem, cert.pem and key.pem of ${name}. Where a manager has --api HOST:PORT:`);
  say(
    `  docker --tlsverify --tlscacert ${directory}/ca.pem --tlscert ${directory}/cert.pem --tlskey ${directory}/key.pem -H tcp://HOST:PORT ps`,
  );
  say(`  shoal status --host HOST:PORT --tls-dir ${directory}`);
}
