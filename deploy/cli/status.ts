/** `shoal status`: the health of each part, nodes and services at a glance. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { ApiClient } from './client.ts';
import { type ServiceJson, serviceSchema } from './convergence.ts';
import { signalOfInterrupts } from './fail.ts';
import { managersOf, managersTable } from './manager-commands.ts';
import { addSocketOptions, clientOf, type SocketFlags } from './socket.ts';
import { formatTable } from './table.ts';

const nodeSchema = z.object({
  ID: z.string(),
  Spec: z.object({ Availability: z.string().optional() }),
  Description: z.object({ Hostname: z.string().optional() }).optional(),
  Status: z.object({
    State: z.string().optional(),
    Addr: z.string().optional(),
    Message: z.string().optional(),
  }),
});

const healthSchema = z.array(z.object({ Part: z.string(), State: z.string(), Message: z.string() }));

export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show the health of each part, managers, nodes and services')
    .option('--json', 'the health of each part as JSON: Part, State (ok, warning, failed), Message');
  addSocketOptions(command).action(async (flags: SocketFlags & { json?: boolean }) => {
    const [api, signal] = [clientOf(flags), signalOfInterrupts()];
    const health = healthSchema.parse(await api.get('/health', signal));
    if (flags.json === true) process.stdout.write(`${JSON.stringify(health)}\n`);
    else process.stdout.write(`${healthText(health)}\n\n${await statusText(api, signal)}\n`);
  });
}

function healthText(health: z.output<typeof healthSchema>): string {
  return formatTable(
    ['part', 'state', ''],
    health.map(({ Part, State, Message }) => [Part, State, Message]),
  );
}

async function statusText(api: ApiClient, signal: AbortSignal): Promise<string> {
  const nodes = z.array(nodeSchema).parse(await api.get('/nodes', signal));
  const services = z.array(serviceSchema).parse(await api.get('/services?status=true', signal));
  const nodeRows = nodes
    .map((node) => [
      node.Description?.Hostname ?? node.ID,
      node.Status.State ?? '',
      node.Spec.Availability ?? '',
      node.Status.Addr ?? '',
      node.Status.Message ?? '',
    ])
    .toSorted((a, b) => (a[0] ?? '').localeCompare(b[0] ?? '', 'en', { numeric: true }));
  const table = formatTable(['node', 'status', 'availability', 'address', 'message'], nodeRows);
  const managers = await managersOf(api, signal);
  const several = managers.length > 1 ? `${managersTable(managers)}\n\n` : '';
  if (services.length === 0) return `${several}${table}\n\nno services yet: shoal deploy -c FILE NAME`;
  const rows = services.map(serviceRow).toSorted((a, b) => (a[0] ?? '').localeCompare(b[0] ?? ''));
  return `${several}${table}\n\n${formatTable(['service', 'running', 'image', 'ports', 'update'], rows)}`;
}

function serviceRow(service: ServiceJson): string[] {
  const ports = (service.Endpoint?.Ports ?? []).map(
    (port) => `${port.PublishedPort}->${port.TargetPort}/${port.Protocol}`,
  );
  const status = service.ServiceStatus;
  return [
    service.Spec.Name,
    status === undefined ? '?' : `${status.RunningTasks}/${status.DesiredTasks}`,
    service.Spec.TaskTemplate?.ContainerSpec?.Image ?? '',
    ports.join(' '),
    service.UpdateStatus?.State ?? '',
  ];
}
