/**
 * Whether a service's first tasks may start: the conditions that it has on other services (depends_on of the compose
 * specification). Conditions are looked at until they are met once; what happens to a dependency later is its own affair,
 * so neither its failure nor a reboot of the cluster holds back what ran before.
 */
import type { Service, ServiceDependency, ServiceSpec } from '../../../shared/model/index.ts';
import { replicasOf } from '../../../shared/model/index.ts';
import { revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import { ServiceContext, type Slot, type SlotTask } from './context.ts';
import { fitsConstraints } from './dirty.ts';

export type Gate =
  /** Nothing to wait for, or it was there before. */
  | { readonly kind: 'open' }
  /** Met just now. */
  | { readonly kind: 'met' }
  | {
      readonly kind: 'held';
      /** For people: what it waits for, with counts. */
      readonly reason: string;
      /** It waits for something that does not come by itself: what was waited for failed for good. */
      readonly hopeless: boolean;
    };

/** One dependency, when it is not met. */
interface Lack {
  readonly text: string;
  readonly hopeless: boolean;
}

const OPEN: Gate = { kind: 'open' };
const MET: Gate = { kind: 'met' };

export function gateOf(view: View, service: Service, spec: ServiceSpec): Gate {
  const dependencies = spec.dependsOn ?? [];
  if (dependencies.length === 0 || service.released === true) return OPEN;
  // Whoever gives dependencies to a service that runs does not stop it.
  if (hasBeenPlaced(view, service)) return MET;
  const lacks = dependencies.flatMap((dependency) => lackOf(view, dependency) ?? []);
  if (lacks.length === 0) return MET;
  return {
    kind: 'held',
    reason: `waits for ${lacks.map(({ text }) => text).join('; ')}`,
    hopeless: lacks.some(({ hopeless }) => hopeless),
  };
}

function hasBeenPlaced(view: View, { id }: Service): boolean {
  for (const taskId of view.tasksOfService(id)) {
    if (view.tasks.get(taskId)?.nodeId !== undefined) return true;
  }
  return false;
}

function lackOf(view: View, dependency: ServiceDependency): Lack | undefined {
  const { service: name, required } = dependency;
  const id = view.serviceNamed(name);
  const service = id === undefined ? undefined : view.services.get(id);
  const revision =
    service === undefined ? undefined : view.revisions.get(revisionKey(service.id, service.revision));
  if (service === undefined || service.removing === true || revision === undefined) {
    return required ? { text: `service ${name}, which does not exist`, hopeless: false } : undefined;
  }
  // Nothing that is asked of it here depends on the time.
  const context = new ServiceContext(view, service, revision, 0);
  const slots = [...context.slots().values()];
  const failure = slots.flatMap((slot) => failureOf(context, slot, dependency) ?? [])[0];
  if (failure !== undefined) {
    return required ? { text: `service ${name}, which ${failure}`, hopeless: true } : undefined;
  }
  const total = wantedCount(context, dependency.condition);
  const done = slots.filter((slot) => meets(context, slot, dependency)).length;
  if (done >= total) return undefined;
  return { text: `service ${name} to ${GOALS[dependency.condition]} (${done} of ${total})`, hopeless: false };
}

const GOALS: Readonly<Record<ServiceDependency['condition'], string>> = {
  started: 'start',
  healthy: 'be healthy',
  completed: 'complete',
};

/** How many slots must meet the condition: all that can be filled now, or shall complete. */
function wantedCount(
  { view, service, spec }: ServiceContext,
  condition: ServiceDependency['condition'],
): number {
  const { mode, placement } = spec;
  const replicas = replicasOf(service, spec);
  if (replicas !== undefined) return replicas;
  // Its next run may be far off: it has started when it is there.
  if (mode.kind === 'cron') return condition === 'completed' ? 1 : 0;
  if (mode.kind === 'replicated-job') {
    const { totalCompletions, maxConcurrent } = mode;
    const atOnce = Math.min(maxConcurrent === 0 ? totalCompletions : maxConcurrent, totalCompletions);
    return condition === 'completed' ? totalCompletions : atOnce;
  }
  const takes = [...view.nodes.values()].filter(
    (node) =>
      node.status === 'ready' &&
      node.spec.availability === 'active' &&
      fitsConstraints(node, placement.constraints),
  );
  return takes.length;
}

function meets(context: ServiceContext, slot: Slot, { condition }: ServiceDependency): boolean {
  switch (condition) {
    case 'started':
      // While its first health check is awaited it is starting, but its container runs.
      return slot.tasks.some(
        ({ status }) => status?.startedAtMs !== undefined || status?.container !== undefined,
      );
    case 'healthy':
      return slot.tasks.some(({ state, status }) => state === 'running' && status?.health === 'healthy');
    case 'completed': {
      const ended = finishedIn(context, slot);
      return ended?.state === 'complete';
    }
  }
}

/** Of the current revision, ended, and not to be run again. */
function finishedIn(context: ServiceContext, slot: Slot): SlotTask | undefined {
  return slot.tasks.find(({ task }) => task.desired === 'complete' && !context.isOutdated(task));
}

/** Why the slot will never meet the condition by itself. */
function failureOf(context: ServiceContext, slot: Slot, dependency: ServiceDependency): string | undefined {
  const { condition } = dependency;
  if (meets(context, slot, dependency)) return undefined;
  const ended = finishedIn(context, slot);
  if (ended !== undefined) {
    if (ended.state === 'complete') return 'ended before it was healthy';
    return `failed: ${ended.status?.error ?? ended.status?.message ?? ended.state}`;
  }
  const unchecked = slot.tasks.some(
    ({ state, status }) => state === 'running' && status?.health === undefined,
  );
  return condition === 'healthy' && unchecked ? 'has no health check' : undefined;
}
