/** `shoal manager ls` and `shoal manager rm`: the managers of the cluster. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { ApiClient } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { formatTable } from './table.ts';

const managerSchema = z.object({
  ID: z.string(),
  Hostname: z.string(),
  Addr: z.string(),
  State: z.string(),
  Leader: z.boolean(),
  Reachability: z.string(),
  Self: z.boolean(),
  Version: z.string(),
});
type ManagerJson = z.output<typeof managerSchema>;

export function addManagerCommands(manager: Command): void {
  // Without a command `shoal manager` runs one; with one, the options after it are the command's.
  manager.enablePositionalOptions();
  const list = manager.command('ls').description('list the managers of the cluster');
  addSocketOptions(list).action(async (flags: SocketFlags) => {
    const managers = await managersOf(clientOf(flags), signalOfInterrupts());
    process.stdout.write(`${managersTable(managers)}\n`);
  });
  const remove = manager
    .command('rm')
    .description('take a manager out of the cluster for good, a lost one or one that shall stop')
    .argument('<manager>', 'its id, host name or address');
  addSocketOptions(remove).action(async (which: string, flags: SocketFlags) => {
    const api = clientOf(flags);
    await api.call('DELETE', `/managers/${encodeURIComponent(which)}`, undefined, signalOfInterrupts());
    process.stdout.write(`${which}\n`);
  });
  for (const command of [list, remove]) command.exitOverride();
}

export async function managersOf(api: ApiClient, signal: AbortSignal): Promise<ManagerJson[]> {
  return z.array(managerSchema).parse(await api.get('/managers', signal));
}

export function managersTable(managers: readonly ManagerJson[]): string {
  const rows = managers.map((one) => [
    one.Self ? `${one.ID} *` : one.ID,
    one.Hostname,
    one.Addr,
    one.State === 'joining' ? 'joining' : one.Leader ? 'leader' : one.Reachability,
    one.Version,
  ]);
  return formatTable(['id', 'hostname', 'address', 'status', 'version'], rows);
}
