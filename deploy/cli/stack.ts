/** Deploys a compose file through the API and waits until its services run. */
import { z } from 'zod';
import type { StackContents } from '../../manager/stack/index.ts';
import { AppError } from '../../shared/errors/index.ts';
import { STACK_LABEL, type StackSource } from '../../shared/model/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { ApiClient } from './client.ts';
import { type ServiceJson, ServiceWatch, serviceSchema, taskSchema, type TaskJson } from './convergence.ts';

/** A place in a compose file; the API gives what it knows. */
export const findingSchema = z.object({
  message: z.string(),
  key: z.string().optional(),
  line: z.number().optional(),
  column: z.number().optional(),
  file: z.string().optional(),
});
export type Finding = z.infer<typeof findingSchema>;

const deployedSchema = z.object({
  warnings: z.array(z.union([findingSchema, z.string().transform((message) => ({ message }))])).default([]),
});
const rejectedSchema = z.object({ errors: z.array(findingSchema) });

/** Services did not become what was asked for. */
export class ConvergenceError extends AppError {
  override readonly name = 'ConvergenceError';
  readonly code = 'unavailable';
}

/** `file:line:column: message`, the form that editors follow. */
export function formatFinding(file: string, finding: Finding): string {
  const { line, column, message } = finding;
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return `${place}: ${message}`;
}

/** The errors that the API listed with their places, if this is such an answer. */
export function findingsOf(body: unknown): readonly Finding[] {
  const parsed = rejectedSchema.safeParse(body);
  return parsed.success ? parsed.data.errors : [];
}

/** Sends one file's text, or all that a stack is made from; resolves with what the manager warns of. */
export async function putStack(
  api: ApiClient,
  name: string,
  what: string | StackSource,
  options: { readonly prune: boolean; readonly contents?: StackContents },
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const path = `/stacks/${encodeURIComponent(name)}${options.prune ? '?prune=true' : ''}`;
  const source = typeof what === 'string' ? { compose: what } : what;
  const body = {
    type: 'application/json',
    text: JSON.stringify({ ...source, contents: options.contents }),
  } as const;
  return deployedSchema.parse(await api.call('PUT', path, body, signal)).warnings;
}

function query(path: string, filters: Record<string, readonly string[]>, extra = ''): string {
  return `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}${extra}`;
}

export async function stackServices(
  api: ApiClient,
  name: string,
  signal: AbortSignal,
): Promise<ServiceJson[]> {
  const path = query('/services', { label: [`${STACK_LABEL}=${name}`] }, '&status=true');
  return z.array(serviceSchema).parse(await api.get(path, signal));
}

export async function tasksOf(
  api: ApiClient,
  services: readonly ServiceJson[],
  signal: AbortSignal,
): Promise<TaskJson[]> {
  if (services.length === 0) return [];
  const filters = { service: services.map((service) => service.ID), '_up-to-date': ['true'] };
  return z.array(taskSchema).parse(await api.get(query('/tasks', filters), signal));
}

export interface WaitOptions {
  readonly timeoutMs: number;
  /** Hears a line whenever what there is to say of a service changes. */
  readonly onChange: (service: string, text: string) => void;
  /** A rollback is waited for, not an update. */
  readonly rollback?: boolean;
}

const POLL_MS = 250;

/** Resolves when all services of the stack run steadily; rejects with ConvergenceError and every reason. */
export function waitForStack(
  api: ApiClient,
  name: string,
  options: WaitOptions,
  signal: AbortSignal,
): Promise<void> {
  return waitFor(api, () => stackServices(api, name, signal), options, signal);
}

/** The same of one service. */
export function waitForService(
  api: ApiClient,
  id: string,
  options: WaitOptions,
  signal: AbortSignal,
): Promise<void> {
  const path = query('/services', { id: [id] }, '&status=true');
  const read = async (): Promise<ServiceJson[]> => z.array(serviceSchema).parse(await api.get(path, signal));
  return waitFor(api, read, options, signal);
}

async function waitFor(
  api: ApiClient,
  read: () => Promise<ServiceJson[]>,
  options: WaitOptions,
  signal: AbortSignal,
): Promise<void> {
  const startedAtMs = Date.now();
  const look = makeLook(startedAtMs, options);
  for (;;) {
    const services = await read();
    const tasks = await tasksOf(api, services, signal);
    const { failures, waiting } = look(services, tasks);
    if (failures.length > 0) throw new ConvergenceError(failures.join('\n'));
    if (waiting.length === 0) return;
    if (Date.now() - startedAtMs > options.timeoutMs) {
      const seconds = Math.round(options.timeoutMs / 1000);
      throw new ConvergenceError(`not converged within ${seconds} s (it goes on):\n${waiting.join('\n')}`);
    }
    await delay(POLL_MS, signal);
  }
}

type Look = (
  services: readonly ServiceJson[],
  tasks: readonly TaskJson[],
) => { failures: string[]; waiting: string[] };

/** Judges all services at each look, and tells what changed. */
function makeLook(startedAtMs: number, { onChange, rollback }: WaitOptions): Look {
  const watches = new Map<string, ServiceWatch>();
  const said = new Map<string, string>();
  return (services, tasks) => {
    const failures: string[] = [];
    const waiting: string[] = [];
    for (const service of services) {
      const watch = watches.get(service.ID) ?? new ServiceWatch(startedAtMs, rollback);
      watches.set(service.ID, watch);
      const own = tasks.filter((task) => task.ServiceID === service.ID);
      const verdict = watch.judge(service, own, Date.now());
      const { Name } = service.Spec;
      if (verdict.kind === 'failed') failures.push(`${Name}: ${verdict.reason}`);
      if (verdict.kind === 'waiting') waiting.push(`${Name}: ${verdict.text}`);
      const text = verdict.kind === 'waiting' ? verdict.text : verdict.kind;
      if (said.get(Name) !== text) onChange(Name, text);
      said.set(Name, text);
    }
    return { failures, waiting };
  };
}

/** Resolves when all of it is gone; then it can be deployed again. */
export async function removeStack(api: ApiClient, name: string, signal: AbortSignal): Promise<void> {
  await api.call('DELETE', `/stacks/${encodeURIComponent(name)}`, undefined, signal);
}
