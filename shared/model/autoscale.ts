/** How many tasks a service has when its use of processors or memory decides that. */
import type { Service, ServiceSpec } from './service.ts';

/** What labels (shoal.autoscale.*) ask for; at least one of the two targets is there. */
export interface Autoscale {
  readonly min: number;
  readonly max: number;
  /** Mean use that is aimed at, in percent of the task's reservation, else of its limit, else of one processor. */
  readonly cpuPercent?: number;
  /** The same for memory; it needs a reservation or a limit. */
  readonly memoryPercent?: number;
  /** So long no more than now was needed, and nothing was changed, before tasks are taken away. */
  readonly coolDownMs: number;
}

/** The number that was chosen last, by use or by a user, and why. */
export interface Scaled {
  readonly replicas: number;
  readonly atMs: number;
  readonly reason: string;
}

/** What a task uses: its node measures it, for services only that ask for it. */
export interface TaskUsage {
  readonly taskId: string;
  /** The mean since its node measured last. */
  readonly nanoCpus: number;
  /** Without what the kernel can drop at once: the file cache that nobody looked at lately. */
  readonly memoryBytes: number;
}

/** How often a node measures and reports. */
export const USAGE_EVERY_MS = 5_000;

/** Within the bounds. */
export function withinBounds(replicas: number, { min, max }: Pick<Autoscale, 'min' | 'max'>): number {
  return Math.min(max, Math.max(min, replicas));
}

/** How many tasks the service should have now. Undefined for modes that have no such number. */
export function replicasOf(
  { scaled }: Pick<Service, 'scaled'>,
  { mode, autoscale }: Pick<ServiceSpec, 'mode' | 'autoscale'>,
): number | undefined {
  if (mode.kind !== 'replicated') return undefined;
  if (autoscale === undefined) return mode.replicas;
  return withinBounds(scaled?.replicas ?? mode.replicas, autoscale);
}

/** The service as it is with another spec: one that asks for no scaling goes by its own number, now and later. */
export function withSpec(service: Service, { autoscale }: Pick<ServiceSpec, 'autoscale'>): Service {
  if (autoscale !== undefined || service.scaled === undefined) return service;
  const { scaled: _over, ...rest } = service;
  return rest;
}
