/** PURE. The one place that says how a task advances: from what is observed and wanted to the next single step. */
import { assertNever } from '../../shared/lib/assert-never.ts';
import type { TaskState } from '../../shared/model/index.ts';

/** What the manager wants of the task, and `forget` once it has left this node's assignments. */
export type Intent = 'ready' | 'run' | 'stop' | 'forget';

export type Step =
  /** Nothing to do but say so. */
  | {
      readonly kind: 'report';
      readonly state: 'accepted' | 'preparing' | 'shutdown';
      readonly message: string;
    }
  /** Fetch the image, make the volumes. Leads to ready or rejected. */
  | { readonly kind: 'prepare' }
  /** Start the container, or go on with one that an earlier agent started, until it is running and healthy. */
  | { readonly kind: 'start' }
  /** Wait for the container's end or a change of mind. */
  | { readonly kind: 'watch' }
  /** Stop the container. Leads to shutdown. */
  | { readonly kind: 'stop' }
  /** Wait for a change of mind. */
  | { readonly kind: 'wait' }
  /** Remove what is left on disk; the runner ends. */
  | { readonly kind: 'remove' };

/** `observed` never goes back, so repeated calls end in `wait` or `remove`. */
export function nextStep(observed: TaskState, intent: Intent): Step {
  switch (observed) {
    case 'new':
    case 'pending':
    case 'assigned':
      return isStopping(intent) ? shutdownAtOnce : { kind: 'report', state: 'accepted', message: 'accepted' };
    case 'accepted':
      return isStopping(intent)
        ? shutdownAtOnce
        : { kind: 'report', state: 'preparing', message: 'preparing' };
    case 'preparing':
      return isStopping(intent) ? shutdownAtOnce : { kind: 'prepare' };
    case 'ready':
      if (isStopping(intent)) return shutdownAtOnce;
      return intent === 'run' ? { kind: 'start' } : { kind: 'wait' };
    case 'starting':
      return isStopping(intent) ? { kind: 'stop' } : { kind: 'start' };
    case 'running':
      return isStopping(intent) ? { kind: 'stop' } : { kind: 'watch' };
    case 'complete':
    case 'shutdown':
    case 'failed':
    case 'rejected':
    case 'remove':
    case 'orphaned':
      return intent === 'forget' ? { kind: 'remove' } : { kind: 'wait' };
    default:
      return assertNever(observed);
  }
}

const shutdownAtOnce: Step = { kind: 'report', state: 'shutdown', message: 'shutdown' };

function isStopping(intent: Intent): boolean {
  return intent === 'stop' || intent === 'forget';
}
