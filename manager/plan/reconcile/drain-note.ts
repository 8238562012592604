/** How far a drain is, for people: what each task that is still there waits for, and how many there are. */
import type { Node, Task } from '../../../shared/model/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import { effectiveState, isUp, isWanted, revisionKey } from '../states.ts';
import type { View } from '../view.ts';
import type { Slot, SlotTask } from './context.ts';
import { ServiceContext } from './context.ts';
import { failedMoves, isLeaving } from './moves.ts';

/** Why a task that serves on a drained node has not left it; undefined: it has no reason to. */
export function whyStillThere(view: View, task: Task): string | undefined {
  const node = view.nodes.get(task.nodeId ?? '');
  if (node?.spec.availability !== 'drain' || !isWanted(task)) return undefined;
  const service = view.services.get(task.serviceId);
  const revision = view.revisions.get(revisionKey(task.serviceId, service?.revision ?? 0));
  if (service === undefined || revision === undefined) return undefined;
  const context = new ServiceContext(view, service, revision, 0);
  const slot = context.slots().get(String(task.slot));
  const item = slot?.tasks.find((one) => one.task.id === task.id);
  if (slot === undefined || item === undefined || !isLeaving(context, item)) return undefined;
  return `its node is drained; ${waitsFor(context, slot, item)}`;
}

function waitsFor(context: ServiceContext, slot: Slot, old: SlotTask): string {
  const next = slot.tasks.findLast(({ task }) => task.id !== old.task.id && isWanted(task));
  if (next === undefined) {
    const failures = failedMoves(context, slot, old).length;
    if (failures === 0) return 'it waits for its turn';
    const last = slot.tasks.findLast(({ task }) => task.move !== undefined);
    const why = last?.status?.error ?? 'it did not come up in time';
    return `a replacement failed ${failures === 1 ? 'once' : `${failures} times`} (${why}) and is tried again`;
  }
  const { id, pendingReason, desired } = next.task;
  if (pendingReason !== undefined) return `its replacement ${id} finds no place: ${pendingReason}`;
  if (desired === 'running' && isUp(next.status)) return `its replacement ${id} runs and is being watched`;
  return `its replacement ${id} is ${next.state}`;
}

/** What a drained node says of itself. */
export function drainProgress(view: View, { id, spec }: Node): string | undefined {
  if (spec.availability !== 'drain') return undefined;
  let count = 0;
  for (const taskId of view.tasksOfNode(id)) {
    const task = view.tasks.get(taskId);
    // Standalone containers stay.
    if (task === undefined || task.run !== undefined) continue;
    if (!isTerminal(effectiveState(task, view.statuses.get(taskId)))) count += 1;
  }
  if (count === 0) return 'drained';
  return `draining: ${count} ${count === 1 ? 'task is' : 'tasks are'} still there`;
}
