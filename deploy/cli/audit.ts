/** `shoal audit`: who did what at a manager. */
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { signalOfInterrupts } from './fail.ts';
import { parseCount, parsePeriod } from './options.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { formatTable } from './table.ts';

const entriesSchema = z.array(
  z.looseObject({
    time: z.string(),
    user: z.string().optional(),
    by: z.string(),
    from: z.string().optional(),
    method: z.string(),
    path: z.string(),
    outcome: z.string(),
    status: z.number().optional(),
    changes: z.array(z.string()).optional(),
    why: z.string().optional(),
  }),
);

interface AuditFlags extends SocketFlags {
  since?: number;
  user?: string;
  limit: number;
  json?: boolean;
}

export function addAudit(program: Command): void {
  const command = program
    .command('audit')
    .description('show who changed what, and who was in which container, at the manager that is asked')
    .addOption(new Option('--since <duration>', 'e.g. 1h, 7d').argParser(parsePeriod))
    .option('--user <name>', 'of this user only')
    .option('--limit <count>', 'so many, the newest', parseCount(1, 100_000), 100)
    .option('--json', 'a JSON document a line, with all that is known');
  addSocketOptions(command).action(async (flags: AuditFlags) => {
    const query = new URLSearchParams({ limit: String(flags.limit) });
    if (flags.since !== undefined) query.set('since', String((Date.now() - flags.since) / 1000));
    if (flags.user !== undefined) query.set('user', flags.user);
    const entries = entriesSchema.parse(await clientOf(flags).get(`/audit?${query}`, signalOfInterrupts()));
    if (flags.json === true) {
      for (const entry of entries) process.stdout.write(`${JSON.stringify(entry)}\n`);
      return;
    }
    const rows = entries.map(({ time, user, by, from, method, path, outcome, status, changes = [], why }) => [
      time,
      user ?? `(${by})`,
      from ?? '-',
      status === undefined ? outcome : `${outcome} ${status}`,
      `${method} ${path}`,
      why ?? changes.join(', '),
    ]);
    process.stdout.write(`${formatTable(['time', 'who', 'from', 'outcome', 'request', 'changes'], rows)}\n`);
  });
}
