/** Records that nothing refers to: tasks of services that are gone, statuses of tasks that are gone. */
import { effectiveState } from '../states.ts';
import type { Draft } from '../draft.ts';
import type { View } from '../view.ts';
import { isGone } from './history.ts';

/** Asks the tasks of a service that does not exist to go, deletes those that have. Returns how many it touched. */
export function clearStrayTasks(view: View, draft: Draft, serviceId: string, now: number): number {
  let touched = 0;
  for (const id of view.tasksOfService(serviceId)) {
    const task = view.tasks.get(id);
    if (task === undefined) continue;
    const status = view.statuses.get(id);
    const node = task.nodeId === undefined ? undefined : view.nodes.get(task.nodeId);
    const unit = `stray/${id}`;
    if (isGone({ task, status, node, state: effectiveState(task, status) })) {
      draft.put(unit, 1, 'tasks', id, null);
      draft.drop(unit, 1, 'statuses', id);
    } else if (task.desired !== 'remove') {
      draft.put(unit, 1, 'tasks', id, { ...task, desired: 'remove', desiredAtMs: now });
    } else continue;
    touched += 1;
  }
  return touched;
}

export function clearStrayStatuses(view: View, draft: Draft): void {
  for (const id of view.statuses.keys()) {
    if (!view.tasks.has(id)) draft.drop(`stray/${id}`, 1, 'statuses', id);
  }
}
