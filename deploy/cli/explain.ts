/** `shoal explain`: what a service or a task waits for, what would help, and how the last update went. */
import type { Command } from 'commander';
import { z } from 'zod';
import { type ApiClient, ApiError } from './client.ts';
import { signalOfInterrupts } from './fail.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { say } from './stack-commands.ts';

const explanationSchema = z.object({
  Reason: z.string(),
  Filters: z.array(
    z.object({
      Reason: z.string(),
      Nodes: z.number(),
      NodeNames: z.array(z.string()),
      Help: z.object({ Node: z.string(), Steps: z.array(z.string()) }),
    }),
  ),
  Help: z.array(z.string()),
});
type ExplanationJson = z.infer<typeof explanationSchema>;

const eventSchema = z.object({ Time: z.string(), Text: z.string() });
const serviceSchema = z.object({
  Name: z.string(),
  Revision: z.number(),
  Tasks: z.object({ RunningTasks: z.number(), DesiredTasks: z.number(), CompletedTasks: z.number() }),
  Pending: z.object({ Count: z.number(), Explanation: explanationSchema }).optional(),
  Missing: z.object({ Count: z.number(), Explanation: explanationSchema }).optional(),
  Addresses: z.array(z.string()).optional(),
  AllowLists: z.array(z.string()).optional(),
  Canary: z.array(z.string()).optional(),
  Ports: z.array(z.object({ Node: z.string(), Text: z.string() })).optional(),
  Failures: z.array(
    z.object({
      Time: z.string(),
      Task: z.string(),
      Node: z.string().optional(),
      State: z.string().optional(),
      Error: z.string().optional(),
    }),
  ),
  Update: z.object({
    State: z.string().optional(),
    Message: z.string().optional(),
    Events: z.array(eventSchema),
  }),
});
type ServiceExplanation = z.infer<typeof serviceSchema>;

const taskSchema = z.object({
  ID: z.string(),
  DesiredState: z.string(),
  Status: z.object({ State: z.string(), Message: z.string().optional(), Err: z.string().optional() }),
  Explanation: explanationSchema.optional(),
});

export function addExplain(program: Command): void {
  const command = program
    .command('explain')
    .description('say what a service or a task waits for, what would help, and how the last update went')
    .argument('<service|task>', 'name or id');
  addSocketOptions(command).action(async (name: string, flags: SocketFlags) => {
    for (const line of await explain(clientOf(flags), name, signalOfInterrupts())) say(line);
  });
}

async function explain(api: ApiClient, name: string, signal: AbortSignal): Promise<string[]> {
  const ref = encodeURIComponent(name);
  try {
    return describeService(serviceSchema.parse(await api.get(`/services/${ref}/explain`, signal)));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  }
  try {
    return describeTask(taskSchema.parse(await api.get(`/tasks/${ref}`, signal)));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    throw new ApiError(404, `there is no service and no task ${name}`, undefined);
  }
}

function describeTask({ ID, DesiredState, Status, Explanation }: z.infer<typeof taskSchema>): string[] {
  const said = Explanation === undefined ? (Status.Err ?? Status.Message ?? '') : '';
  const head = `task ${ID}: ${Status.State}, ${DesiredState} is desired${said === '' ? '' : `: ${said}`}`;
  return Explanation === undefined ? [head] : [head, ...describe(Explanation)];
}

function describeService(service: ServiceExplanation): string[] {
  const {
    Name,
    Revision,
    Tasks,
    Pending,
    Missing,
    Ports = [],
    Addresses = [],
    AllowLists = [],
    Canary = [],
    Failures,
    Update,
  } = service;
  const completed = Tasks.CompletedTasks > 0 ? `, ${Tasks.CompletedTasks} completed` : '';
  const lines = [
    `service ${Name}, revision ${Revision}: ${Tasks.RunningTasks} of ${Tasks.DesiredTasks} tasks run${completed}`,
  ];
  if (Pending !== undefined)
    lines.push(`${counted(Pending.Count, 'pending task')}:`, ...describe(Pending.Explanation));
  if (Missing !== undefined)
    lines.push(`${counted(Missing.Count, 'node')} without a task:`, ...describe(Missing.Explanation));
  lines.push(...Ports.map(({ Node, Text }) => `on ${Node}: ${Text}`));
  lines.push(...Addresses, ...AllowLists, ...Canary);
  if (Failures.length > 0) lines.push('last failures:');
  for (const { Time, Task, Node, State, Error } of Failures) {
    lines.push(
      `  ${Time}  task ${Task}${Node === undefined ? '' : ` on ${Node}`} ${State ?? ''}: ${Error ?? ''}`,
    );
  }
  const state = Update.State === undefined ? '' : ` (${Update.State})`;
  lines.push(`last update${state}:`, ...Update.Events.map(({ Time, Text }) => `  ${Time}  ${Text}`));
  return lines;
}

function describe({ Reason, Filters, Help }: ExplanationJson): string[] {
  const lines = [`  ${Reason}`, ...Help.map((text) => `  help: ${text}`)];
  for (const { Reason: reason, Nodes, NodeNames, Help: help } of Filters) {
    const names = NodeNames.join(', ') + (Nodes > NodeNames.length ? ', ...' : '');
    lines.push(`  ${reason} on ${counted(Nodes, 'node')} (${names})`);
    const [first, ...more] = help.Steps;
    if (first === undefined) continue;
    const nearest = more.length === 0 ? 'help' : `help, on ${help.Node} all of`;
    lines.push(`    ${nearest}: ${first}`, ...more.map((text) => `      ${text}`));
  }
  return lines;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
