/** A task is stopped in favour of one of another service, and its slot gets a task that waits for a place. */
import { idFrom } from '../../shared/lib/ids.ts';
import type { Service, Task } from '../../shared/model/index.ts';
import { isGlobalMode } from '../../shared/model/index.ts';
import type { Planning } from './plan.ts';
import { isWanted } from './states.ts';

/** Written with the unit of the task that takes the room: never the one without the other. */
export function stopVictim(planning: Planning, unit: string, victim: Task, by: Service): void {
  const { draft, view, now, random, priorities } = planning;
  const service = view.services.get(victim.serviceId);
  draft.put(unit, 1, 'tasks', victim.id, {
    ...victim,
    desired: 'shutdown',
    desiredAtMs: now,
    preemptedBy: { serviceId: by.id, serviceName: by.name },
  });
  if (service === undefined) return;
  draft.guard(unit, 1, 'services', service.id);
  const mode = priorities.specOf(service)?.mode;
  const isGlobal = mode !== undefined && isGlobalMode(mode);
  planning.victimSlots.add(`${service.id}/${isGlobal ? (victim.nodeId ?? '') : victim.slot}`);
  // A global service has no task where there is no room for it.
  if (isGlobal || leaveSlot(planning, victim) > 0) return;
  const id = idFrom(random);
  draft.put(unit, 1, 'tasks', id, {
    id,
    serviceId: service.id,
    revision: service.revision,
    slot: victim.slot,
    desired: 'ready',
    createdAtMs: now,
    desiredAtMs: now,
    addresses: [],
    pendingReason: `preempted by service ${by.name}`,
    ...(victim.scheduledAtMs === undefined ? {} : { scheduledAtMs: victim.scheduledAtMs }),
  });
}

/** How many wanted tasks are left in the slot: in the middle of an update there are two. */
function leaveSlot({ view, slotCounts }: Planning, { serviceId, slot }: Task): number {
  let counts = slotCounts.get(serviceId);
  if (counts === undefined) {
    counts = new Map();
    slotCounts.set(serviceId, counts);
    for (const id of view.tasksOfService(serviceId)) {
      const task = view.tasks.get(id);
      if (task !== undefined && isWanted(task)) counts.set(task.slot, (counts.get(task.slot) ?? 0) + 1);
    }
  }
  const left = (counts.get(slot) ?? 1) - 1;
  counts.set(slot, left);
  return left;
}
