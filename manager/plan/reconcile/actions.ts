/** What reconcile asks for, as data. plan.ts turns it into writes. */
import type { DesiredState, Scaled, Service, Task, TaskRun } from '../../../shared/model/index.ts';
import type { Recommendations } from './autoscale.ts';

export type SlotAction =
  | {
      readonly kind: 'create-task';
      readonly slot: number;
      /** Global: the node is given. Replicated: schedule chooses. */
      readonly nodeId?: string;
      readonly desired: 'ready' | 'running';
      readonly startAfterMs?: number;
      readonly failures?: number;
      readonly scheduledAtMs?: number;
      readonly move?: NonNullable<Task['move']>;
      readonly reason: string;
      /** Of a container that is on the node for good: it takes the task whatever else it takes. */
      readonly run?: TaskRun;
    }
  | {
      readonly kind: 'set-desired';
      readonly task: Task;
      readonly desired: DesiredState;
      readonly reason: string;
      readonly run?: TaskRun;
    }
  /** A task without a node: find one. `renew`: it becomes one of the current revision first. */
  | {
      readonly kind: 'place-task';
      readonly task: Task;
      readonly renew: boolean;
      /** The only one that it may go to: a container's. */
      readonly nodeId?: string;
    }
  /** Of a container: its addresses are not those of the networks that it is on now. */
  | { readonly kind: 'rewire-task'; readonly task: Task }
  /** Its node is gone for good: say so in its stead. */
  | { readonly kind: 'orphan-task'; readonly task: Task; readonly reason: string }
  | { readonly kind: 'delete-task'; readonly task: Task };

export type ServiceAction =
  | { readonly kind: 'set-update-status'; readonly status: NonNullable<Service['updateStatus']> }
  | { readonly kind: 'rollback'; readonly toRevision: number; readonly message: string }
  | { readonly kind: 'delete-revision'; readonly revision: number }
  /** A container that removes itself has ended. */
  | { readonly kind: 'remove-service' }
  /** What it depends on is there: its tasks may start, from now on whatever becomes of that. */
  | { readonly kind: 'release' }
  /** Its tasks' use asks for another number of them. */
  | { readonly kind: 'scale'; readonly scaled: Scaled }
  | { readonly kind: 'delete-service' };

export interface SlotDecision {
  /** Slot number, or the node of a global service. */
  readonly key: string;
  readonly actions: readonly SlotAction[];
}

export interface ServiceDecision {
  readonly service: readonly ServiceAction[];
  readonly slots: readonly SlotDecision[];
  /** Look again at this time, even if nothing changes. */
  readonly wakeAt: number | undefined;
  /** More is to be done than the limit allowed. */
  readonly more: boolean;
  /** Why no task of it may be placed yet: it waits for other services. */
  readonly hold?: string;
  /** Of a service that is scaled by use: to be known to the next plan. */
  readonly recommended?: Recommendations;
  /** All its tasks: one of them may be moved to where it levels the nodes. */
  readonly level?: readonly Task[];
}

export const NOTHING: ServiceDecision = { service: [], slots: [], wakeAt: undefined, more: false };

/**
 * Slots with something to do. Whoever applies them counts those that change: a limit on those that are looked at would be
 * used up by tasks that find no place, and what comes after them would never have its turn.
 */
export function decisionOf(
  service: readonly ServiceAction[],
  decisions: readonly SlotDecision[],
  wakeAt: number | undefined,
  more: boolean,
): ServiceDecision {
  const slots = decisions.filter(({ actions }) => actions.length > 0);
  return { service, slots, wakeAt, more };
}

/** The earlier of two times, either of which may be absent. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
