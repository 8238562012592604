/** PURE. What a dispatcher tells nodes, and of them: messages, addresses. */
import { VERSION } from '../../shared/lib/version.ts';
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import type { Store } from '../store/store.ts';
import type { AssignmentTracker } from './assignment-tracker.ts';
import type { Verdict } from './failure-detector.ts';

export const DOWN_MESSAGES: Record<Verdict['reason'], string> = {
  silent: 'heartbeat failure',
  disconnected: 'the node disconnected',
  'never-heard': 'the node was not heard since the manager started',
};

export const ORPHAN_MESSAGE = 'its manager is gone, and no other one has heard of the node';

interface AboutManagers {
  readonly version: string;
  readonly managers?: string[];
  readonly removedManagers: string[];
}

/** The version of this one, host:port of those that are in, and who is out. */
export function aboutManagers(store: Store): AboutManagers {
  const members = [...store.all('managers').values()].filter((record) => record.state === 'member');
  const managers = members.map((record) => record.address).toSorted();
  const removedManagers = (store.get('cluster', 'self')?.removedManagers ?? []).map(({ id }) => id);
  return { version: VERSION, removedManagers, ...(managers.length === 0 ? {} : { managers }) };
}

/** An agent that has lost a container must know that its task is not to be started a second time (invariant 2). */
export function withStarted(set: AssignmentSet, tracker: AssignmentTracker): AssignmentSet {
  const tasks = [...set.tasks].map(([id, task]): [string, TaskAssignment] => [
    id,
    tracker.hasStarted(id) ? { ...task, started: true } : task,
  ]);
  return { ...set, tasks: new Map(tasks) };
}
