/** The number of tasks of a replicated service: its spec's, or what the use of its tasks makes of it. */
import type { ServiceSpec } from '../../../shared/model/index.ts';
import { replicasOf, USAGE_EVERY_MS } from '../../../shared/model/index.ts';
import { isUp, isWanted, revisionKey } from '../states.ts';
import type { UsageSample } from '../view.ts';
import type { ServiceAction } from './actions.ts';
import type { Recommendations, Use } from './autoscale.ts';
import { decideReplicas, meanOf } from './autoscale.ts';
import type { ServiceContext, Slot } from './context.ts';

export interface Scale {
  readonly replicas: number;
  readonly service: readonly ServiceAction[];
  readonly wakeAt: number | undefined;
  readonly recommended?: Recommendations;
}

/** What was measured longer ago is not known any more; what was measured since then is averaged. */
const USAGE_WINDOW_MS = 4 * USAGE_EVERY_MS;
const ONE_CPU = 1_000_000_000;

/** `held`: it waits for other services, so that there is nothing to measure. */
export function scaleOf(context: ServiceContext, all: ReadonlyMap<string, Slot>, held: boolean): Scale {
  const { service, spec, view, now } = context;
  const current = replicasOf(service, spec) ?? 0;
  const still = { replicas: current, service: [], wakeAt: undefined };
  if (spec.autoscale === undefined || view.usage === undefined || held) return still;
  const state = service.updateStatus?.state;
  const { replicas, reason, history } = decideReplicas({
    autoscale: spec.autoscale,
    current,
    uses: usesOf(context, all),
    changedAtMs: service.scaled?.atMs,
    updating: state === 'updating' || state === 'rollback-started',
    history: view.recommended?.get(service.id),
    now,
  });
  const wakeAt = now + USAGE_EVERY_MS;
  if (replicas === current) return { ...still, wakeAt, recommended: history };
  const scaled = { replicas, atMs: now, reason };
  return { replicas, service: [{ kind: 'scale', scaled }], wakeAt, recommended: history };
}

/** One for each slot that a task is wanted in; undefined: it is not up, or nothing was heard of it. */
export function usesOf(context: ServiceContext, all: ReadonlyMap<string, Slot>): (Use | undefined)[] {
  const { view, service, now } = context;
  return [...all.values()].flatMap(({ tasks }) => {
    const wanted = tasks.filter(({ task }) => isWanted(task));
    if (wanted.length === 0) return [];
    const task = wanted.find(({ status }) => isUp(status))?.task;
    const revision = view.revisions.get(revisionKey(service.id, task?.revision ?? 0));
    if (task?.nodeId === undefined || revision === undefined) return [undefined];
    return [useOf(revision.spec, view.usage?.samples(task.nodeId, task.id) ?? [], now)];
  });
}

/** In percent of what is reserved, else of the limit; of one processor where there is neither. */
export function useOf(
  { reservations, limits }: Pick<ServiceSpec, 'reservations' | 'limits'>,
  samples: readonly UsageSample[],
  now: number,
): Use | undefined {
  const fresh = samples.filter(({ atMs }) => now - atMs < USAGE_WINDOW_MS);
  const nanoCpus = meanOf(fresh.map((sample) => sample.nanoCpus));
  const memoryBytes = meanOf(fresh.map((sample) => sample.memoryBytes));
  if (nanoCpus === undefined || memoryBytes === undefined) return undefined;
  const cpuPercent = (100 * nanoCpus) / (reservations.nanoCpus ?? limits.nanoCpus ?? ONE_CPU);
  const memory = reservations.memoryBytes ?? limits.memoryBytes;
  return { cpuPercent, ...(memory === undefined ? {} : { memoryPercent: (100 * memoryBytes) / memory }) };
}
