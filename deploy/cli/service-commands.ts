/** `shoal service revisions`, `diff` and `rollback`: what a service was, and the way back to any of it. */
import type { Command } from 'commander';
import { z } from 'zod';
import { type ApiClient, ApiError } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { parseCount } from './options.ts';
import { changeText } from './revision-commands.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { say } from './stack-commands.ts';
import { waitForService } from './stack.ts';
import { formatTable } from './table.ts';

const changeSchema = z.object({ Path: z.string(), From: z.unknown().optional(), To: z.unknown().optional() });
const revisionsSchema = z.array(
  z.object({
    Revision: z.number(),
    CreatedAt: z.string(),
    Current: z.boolean(),
    Previous: z.boolean(),
    RollbackOf: z.number().optional(),
    Automatic: z.boolean().optional(),
    Changes: z.array(changeSchema).optional(),
  }),
);
type RevisionJson = z.infer<typeof revisionsSchema>[number];
const diffSchema = z.object({ From: z.number(), To: z.number(), Changes: z.array(changeSchema) });
const serviceSchema = z.object({ ID: z.string(), Version: z.object({ Index: z.number() }) });

/** Changes of a revision that are named in the list; `diff` shows all. */
const PATHS_SHOWN = 3;
/** The leader may write to the service at the same moment. */
const ATTEMPTS = 5;
const parseRevision = parseCount(1, 2 ** 31);

export function addService(program: Command): void {
  const service = program.command('service').description('revisions of a service, and the way back');
  const revisions = service
    .command('revisions')
    .description('list the revisions that are kept; the newest first')
    .argument('<service>', 'its name or id');
  addSocketOptions(revisions).action(runRevisions);
  const diff = service
    .command('diff')
    .description('show what is different between two revisions, field by field')
    .argument('<service>', 'its name or id')
    .argument('[from]', 'a revision; the one before', parseRevision)
    .argument('[to]', 'a revision; the current one', parseRevision);
  addSocketOptions(diff).action(runDiff);
  const rollback = service
    .command('rollback')
    .description('make the spec of a former revision current, as a new revision')
    .argument('<service>', 'its name or id')
    .argument('[revision]', 'its number (see shoal service revisions); the one before', parseRevision)
    .option('--no-wait', 'return as soon as the cluster has accepted it')
    .option('-d, --detach', 'the same as --no-wait')
    .option('--timeout <seconds>', 'how long to wait', parseCount(1, 86_400), 300);
  addSocketOptions(rollback).action(runRollback);
}

function pathOf(service: string, rest = ''): string {
  return `/services/${encodeURIComponent(service)}${rest}`;
}

async function runRevisions(service: string, flags: SocketFlags): Promise<void> {
  const list = await revisionsOf(clientOf(flags), service, signalOfInterrupts());
  const rows = list.map((one) => [String(one.Revision), one.CreatedAt, markOf(one), summaryOf(one)]);
  say(formatTable(['REVISION', 'CREATED', '', 'CHANGES'], rows));
}

async function revisionsOf(api: ApiClient, service: string, signal: AbortSignal): Promise<RevisionJson[]> {
  return revisionsSchema.parse(await api.get(pathOf(service, '/revisions'), signal));
}

function markOf({ Current, Previous }: RevisionJson): string {
  return Current ? 'current' : Previous ? 'previous' : '';
}

function summaryOf({ Changes, RollbackOf, Automatic }: RevisionJson): string {
  const back = Automatic === true ? 'rolled back by itself to' : 'rollback to';
  const origin = RollbackOf === undefined ? [] : [`${back} ${RollbackOf}`];
  const paths = (Changes ?? []).map(({ Path }) => Path);
  const more = paths.length > PATHS_SHOWN ? [`${paths.length - PATHS_SHOWN} more`] : [];
  return [...origin, ...paths.slice(0, PATHS_SHOWN), ...more].join(', ');
}

async function runDiff(
  service: string,
  from: number | undefined,
  to: number | undefined,
  flags: SocketFlags,
): Promise<void> {
  const query = new URLSearchParams();
  if (from !== undefined) query.set('from', String(from));
  if (to !== undefined) query.set('to', String(to));
  const path = pathOf(service, `/revisions/diff?${query.toString()}`);
  const diff = diffSchema.parse(await clientOf(flags).get(path, signalOfInterrupts()));
  say(`service ${service}: revision ${diff.From} -> ${diff.To}`);
  for (const { Path, From, To } of diff.Changes) say(`    ${changeText(Path, From, To)}`);
  if (diff.Changes.length === 0) say('    no difference');
}

interface RollbackFlags extends SocketFlags {
  wait: boolean;
  detach?: boolean;
  timeout: number;
}

async function runRollback(
  service: string,
  revision: number | undefined,
  flags: RollbackFlags,
): Promise<void> {
  const signal = signalOfInterrupts();
  const api = clientOf(flags);
  const { id, revision: now } = await rollBack(api, service, revision, signal);
  say(`service ${service} is rolled back, as revision ${now}`);
  if (!flags.wait || flags.detach === true) return;
  const onChange = (name: string, status: string): void => say(`${name}: ${status}`);
  await waitForService(api, id, { timeoutMs: flags.timeout * 1000, onChange, rollback: true }, signal);
  say(`service ${service} runs`);
}

/** Tried again while it is the cluster's own writes that come in between, not another update. */
async function rollBack(
  api: ApiClient,
  service: string,
  revision: number | undefined,
  signal: AbortSignal,
): Promise<{ readonly id: string; readonly revision: number }> {
  const current = await currentOf(api, service, signal);
  for (let attempt = 1; ; attempt += 1) {
    const { ID, Version } = serviceSchema.parse(await api.get(pathOf(service), signal));
    if ((await currentOf(api, ID, signal)) !== current)
      throw new ApiError(
        409,
        `service ${service} was updated at the same moment: nothing was done`,
        undefined,
      );
    const wanted = revision === undefined ? '' : `&revision=${revision}`;
    try {
      const path = pathOf(ID, `/rollback?version=${Version.Index}${wanted}`);
      const answer = await api.call('POST', path, undefined, signal);
      return { id: ID, revision: z.object({ Revision: z.number() }).parse(answer).Revision };
    } catch (error) {
      const stale = error instanceof ApiError && error.message.includes('out of sequence');
      if (!stale || attempt >= ATTEMPTS) throw error;
    }
  }
}

async function currentOf(api: ApiClient, service: string, signal: AbortSignal): Promise<number | undefined> {
  return (await revisionsOf(api, service, signal)).find(({ Current }) => Current)?.Revision;
}
