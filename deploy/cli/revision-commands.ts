/** `shoal diff`, `shoal revisions` and `shoal rollback`: what a deployment would change, what was deployed, the way back. */
import type { Command } from 'commander';
import { z } from 'zod';
import { readProject } from './compose-file.ts';
import { signalOfInterrupts } from './fail.ts';
import { parseCount } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { addFileOptions, explainRefusal, type FileFlags, say, warn } from './stack-commands.ts';
import { findingSchema, waitForStack } from './stack.ts';
import { formatTable } from './table.ts';

const entrySchema = z.object({
  name: z.string(),
  action: z.enum(['create', 'update', 'unchanged', 'extra']),
  changes: z.array(z.object({ path: z.string(), from: z.unknown().optional(), to: z.unknown().optional() })),
});
const diffSchema = z.object({
  services: z.array(entrySchema),
  networks: z.array(entrySchema),
  secrets: z.array(entrySchema),
  configs: z.array(entrySchema),
  warnings: z.array(findingSchema),
});
type Entry = z.infer<typeof entrySchema>;

export function addDiff(program: Command): void {
  const command = program
    .command('diff')
    .description('show what deploying the files would change; nothing is changed')
    .argument('<stack>', 'name of the stack');
  addSocketOptions(addFileOptions(command)).action(runDiff);
}

async function runDiff(name: string, flags: SocketFlags & FileFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const project = await readProject(flags.composeFile, { profiles: flags.profile, envFiles: flags.envFile });
  const { source, contents } = project;
  const body = { type: 'application/json', text: JSON.stringify({ ...source, contents }) } as const;
  const path = `/stacks/${encodeURIComponent(name)}/diff`;
  const answer = await clientOf(flags)
    .call('POST', path, body, signal)
    .catch((error: unknown) => explainRefusal(project, error));
  const diff = diffSchema.parse(answer);
  warn(project, diff.warnings);
  const lines = [
    ...diff.networks.flatMap((entry) => describe('network', entry)),
    ...diff.secrets.flatMap((entry) => describe('secret', entry)),
    ...diff.configs.flatMap((entry) => describe('config', entry)),
    ...diff.services.flatMap((entry) => describe('service', entry)),
  ];
  for (const line of lines) say(line);
  if (lines.length === 0) say(`stack ${name} is as the files say`);
}

const SIGNS = { create: '+', update: '~', extra: '?', unchanged: ' ' } as const;

function describe(kind: string, { name, action, changes }: Entry): string[] {
  if (action === 'unchanged') return [];
  const note = action === 'extra' ? ' (not in the files: --prune removes it)' : '';
  return [
    `${SIGNS[action]} ${kind} ${name}${note}`,
    ...changes.map(({ path, from, to }) => `    ${changeText(path, from, to)}`),
  ];
}

export function changeText(path: string, from: unknown, to: unknown): string {
  const value = (what: unknown): string => (what === undefined ? 'nothing' : JSON.stringify(what));
  return `${path}: ${value(from)} -> ${value(to)}`;
}

const revisionsSchema = z.array(
  z.object({
    revision: z.number(),
    createdAt: z.string(),
    composeFiles: z.array(z.string()),
    profiles: z.array(z.string()),
  }),
);

export function addRevisions(program: Command): void {
  const command = program
    .command('revisions')
    .description('list what the stack was deployed from; the newest first')
    .argument('<stack>', 'name of the stack');
  addSocketOptions(command).action(async (name: string, flags: SocketFlags) => {
    const path = `/stacks/${encodeURIComponent(name)}/revisions`;
    const revisions = revisionsSchema.parse(await clientOf(flags).get(path, signalOfInterrupts()));
    const rows = revisions.map((one) => [
      String(one.revision),
      one.createdAt,
      one.composeFiles.join(' '),
      one.profiles.join(' '),
    ]);
    say(formatTable(['REVISION', 'CREATED', 'FILES', 'PROFILES'], rows));
  });
}

interface RollbackFlags extends SocketFlags {
  wait: boolean;
  detach?: boolean;
  timeout: number;
}

export function addRollback(program: Command): void {
  const command = program
    .command('rollback')
    .description('deploy a former revision of the stack again; what it did not have is removed')
    .argument('<stack>', 'name of the stack')
    .argument(
      '[revision]',
      'its number (see shoal revisions); the one before the last',
      parseCount(1, 2 ** 31),
    )
    .option('--no-wait', 'return as soon as the cluster has accepted it')
    .option('-d, --detach', 'the same as --no-wait')
    .option('--timeout <seconds>', 'how long to wait', parseCount(1, 86_400), 300);
  addSocketOptions(command).action(runRollback);
}

async function runRollback(name: string, revision: number | undefined, flags: RollbackFlags): Promise<void> {
  const signal = signalOfInterrupts();
  const api = clientOf(flags);
  const query = revision === undefined ? '' : `?revision=${revision}`;
  const answer = await api.call(
    'POST',
    `/stacks/${encodeURIComponent(name)}/rollback${query}`,
    undefined,
    signal,
  );
  const { revision: now } = z.object({ revision: z.number() }).parse(answer);
  say(`stack ${name} is deployed again, as revision ${now}`);
  if (!flags.wait || flags.detach === true) return;
  const onChange = (service: string, status: string): void => say(`${service}: ${status}`);
  await waitForStack(api, name, { timeoutMs: flags.timeout * 1000, onChange }, signal);
  say(`stack ${name} runs`);
}
