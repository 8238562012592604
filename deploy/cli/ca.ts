/** `shoal ca`: the cluster's certificate authority, and its rotation. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { InvalidError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import { durationText } from '../../shared/lib/duration-text.ts';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';

const LOOK_EVERY_MS = 500;

const rootSchema = z.object({
  Certificate: z.string(),
  Digest: z.string(),
  Subject: z.string(),
  EndsAt: z.string(),
});
const nodeSchema = z.object({ ID: z.string(), Hostname: z.string(), State: z.string() });
const authoritySchema = rootSchema.extend({
  NodeCertExpirySeconds: z.number(),
  Rotation: rootSchema
    .extend({
      StartedAt: z.string(),
      SkipDead: z.boolean(),
      Moved: z.number(),
      Waiting: z.array(nodeSchema),
      Skipped: z.array(nodeSchema),
    })
    .optional(),
  Etcd: z
    .object({
      Digest: z.string(),
      RotatedAt: z.string().optional(),
      Rotation: z
        .object({ Digest: z.string(), StartedAt: z.string(), Waiting: z.array(nodeSchema) })
        .optional(),
    })
    .optional(),
});
type CertificateAuthority = z.output<typeof authoritySchema>;

interface CaFlags extends SocketFlags {
  pem?: boolean;
}

interface RotateFlags extends SocketFlags {
  caCert?: string;
  caKey?: string;
  skipDead?: boolean;
  detach?: boolean;
}

export function addCa(program: Command): void {
  const command = program
    .command('ca')
    .description("show the cluster's certificate authority, and how far its rotation is")
    .option('--pem', 'print the root certificate alone');
  addSocketOptions(command).action(async (flags: CaFlags) => {
    const authority = await authorityOf(clientOf(flags), signalOfInterrupts());
    process.stdout.write(flags.pem === true ? authority.Certificate : `${describe(authority)}\n`);
  });
  const rotate = command
    .command('rotate')
    .description(
      'replace the root: both count until all nodes have certificates of the new one; what runs goes on',
    )
    .option('--ca-cert <file>', 'the new root (PEM); default: one is made')
    .option('--ca-key <file>', 'its key (PEM)')
    .option(
      '--skip-dead',
      'do not wait for nodes that are down: they come back with a token. Also for one that goes on',
    )
    .option('--detach', 'return at once')
    .exitOverride();
  addSocketOptions(rotate).action(async (_flags: RotateFlags, self: Command) => {
    const flags = self.optsWithGlobals<RotateFlags>();
    const signal = signalOfInterrupts();
    const api = clientOf(flags);
    const body = { ...(await newRoot(flags)), SkipDead: flags.skipDead === true };
    const text = JSON.stringify(body);
    await api.call('POST', '/ca/rotate', { type: 'application/json', text }, signal);
    if (flags.detach !== true) await follow(api, signal);
  });
  const etcd = command
    .command('rotate-etcd')
    .description(
      "replace the root of the authority between the managers' etcds: they start again one by one, while all managers are there",
    )
    .option('--detach', 'return at once')
    .exitOverride();
  addSocketOptions(etcd).action(async (_flags: SocketFlags, self: Command) => {
    const flags = self.optsWithGlobals<SocketFlags & { detach?: boolean }>();
    const [api, signal] = [clientOf(flags), signalOfInterrupts()];
    await api.call('POST', '/ca/rotate-etcd', undefined, signal);
    if (flags.detach !== true) await followEtcd(api, signal);
  });
}

async function authorityOf(api: ApiClient, signal: AbortSignal): Promise<CertificateAuthority> {
  return authoritySchema.parse(await api.get('/ca', signal));
}

async function newRoot({ caCert, caKey }: RotateFlags): Promise<{ CACert?: string; CAKey?: string }> {
  if (caCert === undefined && caKey === undefined) return {};
  if (caCert === undefined || caKey === undefined)
    throw new InvalidError('--ca-cert and --ca-key belong together: give both');
  const read = (file: string): Promise<string> =>
    readFile(file, 'utf8').catch((cause: unknown) => {
      throw new InvalidError(`${file} can not be read`, { cause });
    });
  return { CACert: await read(caCert), CAKey: await read(caKey) };
}

/** Says how far it is whenever that changes, until it is done. */
async function follow(api: ApiClient, signal: AbortSignal): Promise<void> {
  for (let said = ''; ; ) {
    const authority = await authorityOf(api, signal);
    const { Rotation: rotation } = authority;
    if (rotation === undefined) {
      process.stdout.write(`done: the root is ${authority.Digest}. Join tokens are new ones (shoal token)\n`);
      return;
    }
    const text = progressText(rotation);
    if (text !== said) process.stdout.write(`${text}\n`);
    said = text;
    await delay(LOOK_EVERY_MS, signal);
  }
}

/** The same of etcd's. */
async function followEtcd(api: ApiClient, signal: AbortSignal): Promise<void> {
  for (let said = ''; ; await delay(LOOK_EVERY_MS, signal)) {
    const { Etcd: etcd } = await authorityOf(api, signal);
    if (etcd === undefined) return;
    if (etcd.Rotation === undefined) {
      process.stdout.write(`done: the root between the managers' etcds is ${etcd.Digest}\n`);
      return;
    }
    const text = etcdText(etcd.Rotation);
    if (text !== said) process.stdout.write(`${text}\n`);
    said = text;
  }
}

function etcdText({ Waiting: waiting }: { readonly Waiting: z.output<typeof nodeSchema>[] }): string {
  if (waiting.length === 0) return 'all managers have done their steps';
  const names = waiting.map(({ ID, Hostname, State }) => `${Hostname} (${ID}): ${State}`);
  const gone = waiting.some(({ State }) => State.endsWith('not reachable'));
  return `waiting for ${names.join('; ')}${gone ? '; one that is lost: shoal manager rm' : ''}`;
}

function describe(authority: CertificateAuthority): string {
  const { Rotation: rotation, NodeCertExpirySeconds: seconds } = authority;
  const lines = [
    `root: ${authority.Subject}`,
    `digest: ${authority.Digest}`,
    `ends: ${authority.EndsAt}`,
    `certificates: valid for ${durationText(seconds * 1000)}, renewed between half and four fifths of that`,
  ];
  const { Etcd: etcd } = authority;
  if (etcd !== undefined) {
    const since = etcd.RotatedAt === undefined ? '' : `, since ${etcd.RotatedAt}`;
    lines.push(`root between the managers' etcds: ${etcd.Digest}${since}`);
    if (etcd.Rotation !== undefined)
      lines.push(
        `its rotation since ${etcd.Rotation.StartedAt} to ${etcd.Rotation.Digest}: ${etcdText(etcd.Rotation)}`,
      );
  }
  if (rotation === undefined) return lines.join('\n');
  const { Subject, Digest, EndsAt, StartedAt } = rotation;
  return [
    ...lines,
    `rotation since ${StartedAt} to: ${Subject}, ${Digest}, ends ${EndsAt}`,
    progressText(rotation),
  ].join('\n');
}

function progressText(rotation: NonNullable<CertificateAuthority['Rotation']>): string {
  const { Moved: moved, Waiting: waiting, Skipped: skipped } = rotation;
  const names = (nodes: typeof waiting): string =>
    nodes.map(({ ID, Hostname, State }) => `${Hostname === '' ? ID : Hostname} (${State})`).join(', ');
  const parts = [`${moved} of ${moved + waiting.length} nodes have moved`];
  if (waiting.length > 0) parts.push(`waiting for ${names(waiting)}`);
  if (skipped.length > 0) parts.push(`skipped: ${names(skipped)}`);
  if (waiting.some(({ State }) => State === 'down'))
    parts.push('those that are down: shoal ca rotate --skip-dead');
  return parts.join('; ');
}
