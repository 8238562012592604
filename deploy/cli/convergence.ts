/**
 * Judges from the API's answers whether services have become what their specs ask for. Nothing here asks or waits;
 * the time is passed in.
 */
import { z } from 'zod';

export const serviceSchema = z.object({
  ID: z.string(),
  Spec: z.object({
    Name: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
    Mode: z
      .object({
        Replicated: z.object({ Replicas: z.number().optional() }).optional(),
        ReplicatedJob: z.object({ MaxConcurrent: z.number(), TotalCompletions: z.number() }).optional(),
      })
      .optional(),
    TaskTemplate: z
      .object({ ContainerSpec: z.object({ Image: z.string().optional() }).optional() })
      .optional(),
  }),
  Endpoint: z
    .object({
      Ports: z
        .array(
          z.object({
            Protocol: z.string().optional(),
            PublishedPort: z.number().optional(),
            TargetPort: z.number().optional(),
          }),
        )
        .nullish(),
    })
    .optional(),
  ServiceStatus: z.object({ RunningTasks: z.number(), DesiredTasks: z.number() }).optional(),
  UpdateStatus: z.object({ State: z.string().optional(), Message: z.string().optional() }).nullish(),
  /** Shoal's own: it waits for what it depends on. */
  HeldBack: z.object({ Reason: z.string(), Failed: z.boolean() }).optional(),
});
export type ServiceJson = z.infer<typeof serviceSchema>;

export const taskSchema = z.object({
  ID: z.string(),
  ServiceID: z.string(),
  Slot: z.number().optional(),
  NodeID: z.string().optional(),
  DesiredState: z.string(),
  CreatedAt: z.string(),
  Status: z.object({
    State: z.string(),
    Message: z.string().optional(),
    Err: z.string().optional(),
    ContainerStatus: z.object({ ContainerID: z.string().optional() }).nullish(),
  }),
});
export type TaskJson = z.infer<typeof taskSchema>;

export type Verdict =
  | { readonly kind: 'converged' }
  | { readonly kind: 'waiting'; readonly text: string }
  | { readonly kind: 'failed'; readonly reason: string };

const TERMINAL = new Set(['complete', 'shutdown', 'failed', 'rejected', 'remove', 'orphaned']);
/** `complete` is what is wanted of a job's tasks. */
const WANTED = new Set(['running', 'complete']);
/** A slot whose tasks failed this often in a row since we look is not going to run. */
const FAILURES = 3;
const REJECTIONS = 2;
/** Time that a new task may look for a node before that is called a failure. */
const PENDING_MS = 15_000;
/** What runs must have run for this long: a container that ends at once is seen running once. */
const STEADY_MS = 1_500;

/** Remembers what it saw of one service from one look to the next. */
export class ServiceWatch {
  readonly #startedAtMs: number;
  readonly #rollback: boolean;
  #completeSinceMs: number | undefined;
  #runningIds = '';
  #pendingSinceMs: number | undefined;

  /** `rollback`: that is what was asked for, so its end is no failure. */
  constructor(startedAtMs: number, rollback = false) {
    this.#startedAtMs = startedAtMs;
    this.#rollback = rollback;
  }

  /** `tasks` are those of the service's current revision. */
  judge(service: ServiceJson, tasks: readonly TaskJson[], nowMs: number): Verdict {
    const updating = judgeUpdate(service, this.#rollback);
    if (updating?.kind === 'failed') return updating;
    if (service.HeldBack !== undefined) return this.#heldBack(service.HeldBack);
    const wanted = desiredCount(service, tasks);
    const running = tasks.filter((task) => WANTED.has(task.DesiredState) && task.Status.State === 'running');
    const alive = tasks.filter((task) => !TERMINAL.has(task.Status.State));
    const ended = tasks.filter((task) => task.Status.State === 'complete');
    const ranToItsEnd = alive.length === 0 && ended.length >= Math.max(1, wanted);
    // Of a job, as many as may run at once shall do so, or be through.
    const job = service.Spec.Mode?.ReplicatedJob !== undefined;
    const here = running.length + (job ? ended.length : 0);
    if (updating === undefined && (here === wanted || (job && here > wanted) || ranToItsEnd)) {
      return this.#steady(running, wanted, nowMs);
    }
    this.#completeSinceMs = undefined;
    const reason = this.#whyNever(tasks, nowMs);
    if (reason !== undefined) return { kind: 'failed', reason };
    return { kind: 'waiting', text: `${running.length}/${wanted} running${hint(updating, alive, tasks)}` };
  }

  /** The time in which its tasks must find a node begins when they may look for one. */
  #heldBack({ Reason, Failed }: NonNullable<ServiceJson['HeldBack']>): Verdict {
    this.#pendingSinceMs = undefined;
    this.#completeSinceMs = undefined;
    return Failed ? { kind: 'failed', reason: Reason } : { kind: 'waiting', text: Reason };
  }

  #steady(running: readonly TaskJson[], wanted: number, nowMs: number): Verdict {
    const ids = running
      .map((task) => task.ID)
      .toSorted()
      .join();
    if (this.#completeSinceMs === undefined || ids !== this.#runningIds) this.#completeSinceMs = nowMs;
    this.#runningIds = ids;
    if (wanted === 0 || nowMs - this.#completeSinceMs >= STEADY_MS) return { kind: 'converged' };
    return { kind: 'waiting', text: `${running.length}/${wanted} running, looking whether they stay` };
  }

  #whyNever(tasks: readonly TaskJson[], nowMs: number): string | undefined {
    const recent = tasks.filter((task) => Date.parse(task.CreatedAt) >= this.#startedAtMs);
    const over = tasks.filter(
      (task) => task.DesiredState === 'complete' && ['failed', 'rejected'].includes(task.Status.State),
    );
    if (over.length > 0) return `its task failed and is not restarted: ${whyOf(over)}`;
    const failed = worstSlot(recent, 'failed');
    if (failed.length >= FAILURES) return `its tasks fail: ${whyOf(failed)}`;
    const rejected = worstSlot(recent, 'rejected');
    if (rejected.length >= REJECTIONS) return `its tasks are rejected: ${whyOf(rejected)}`;
    const pending = tasks.filter((task) => task.Status.State === 'pending' && (task.Status.Err ?? '') !== '');
    if (pending.length === 0) this.#pendingSinceMs = undefined;
    else this.#pendingSinceMs ??= nowMs;
    if (this.#pendingSinceMs !== undefined && nowMs - this.#pendingSinceMs >= PENDING_MS) {
      return `no node takes its tasks: ${whyOf(pending)}`;
    }
    return undefined;
  }
}

function judgeUpdate(service: ServiceJson, rollback: boolean): Verdict | undefined {
  const message = service.UpdateStatus?.Message ?? '';
  switch (service.UpdateStatus?.State) {
    case 'updating':
    case 'rollback_started':
      return { kind: 'waiting', text: message };
    case 'paused':
    case 'rollback_paused':
      return { kind: 'failed', reason: `its update was paused: ${message}` };
    case 'rollback_completed':
      if (rollback) return undefined;
      return { kind: 'failed', reason: `its update was rolled back: ${message}` };
    default:
      return undefined;
  }
}

function desiredCount(service: ServiceJson, tasks: readonly TaskJson[]): number {
  const replicas = service.Spec.Mode?.Replicated;
  if (replicas !== undefined) return replicas.Replicas ?? 1;
  const job = service.Spec.Mode?.ReplicatedJob;
  if (job !== undefined) return Math.min(job.MaxConcurrent, job.TotalCompletions);
  const seen = tasks.filter((task) => WANTED.has(task.DesiredState)).length;
  return service.ServiceStatus?.DesiredTasks ?? Math.max(1, seen);
}

function worstSlot(tasks: readonly TaskJson[], state: string): TaskJson[] {
  const slots = new Map<string, TaskJson[]>();
  for (const task of tasks) {
    if (task.Status.State !== state) continue;
    const key = (task.Slot ?? 0) === 0 ? `node ${task.NodeID}` : `slot ${task.Slot}`;
    slots.set(key, [...(slots.get(key) ?? []), task]);
  }
  return [...slots.values()].toSorted((a, b) => b.length - a.length)[0] ?? [];
}

function whyOf(tasks: readonly TaskJson[]): string {
  const latest = tasks.toSorted((a, b) => Date.parse(b.CreatedAt) - Date.parse(a.CreatedAt))[0];
  return latest?.Status.Err || latest?.Status.Message || 'no reason was reported';
}

/** What the waiting is for: the furthest behind of the live tasks, or the latest failure. */
function hint(updating: Verdict | undefined, alive: readonly TaskJson[], tasks: readonly TaskJson[]): string {
  if (updating?.kind === 'waiting' && updating.text !== '') return `, ${updating.text}`;
  const pending = alive.find((task) => (task.Status.Err ?? '') !== '');
  if (pending !== undefined) return `, ${pending.Status.State}: ${pending.Status.Err}`;
  const states = new Map<string, number>();
  for (const task of alive) {
    const { State } = task.Status;
    if (State !== 'running') states.set(State, (states.get(State) ?? 0) + 1);
  }
  if (states.size > 0) return `, ${[...states].map(([state, count]) => `${count} ${state}`).join(', ')}`;
  const failed = tasks.filter((task) => ['failed', 'rejected'].includes(task.Status.State));
  return failed.length === 0 ? '' : `, last failure: ${whyOf(failed)}`;
}
