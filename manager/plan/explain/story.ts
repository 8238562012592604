/**
 * The story of a service's last update or rollback, put together from what is stored anyway: revisions, the update's
 * status, and the tasks that are kept. Nothing is written for it, so of a long update the beginning may be gone.
 */
import type { Revision, Service, Task, TaskStatus, UpdateStatus } from '../../../shared/model/index.ts';
import { endedByItself, revisionKey } from '../states.ts';
import type { View } from '../view.ts';

const EVENTS_SHOWN = 20;
const SLOTS_NAMED = 10;

export interface StoryEvent {
  readonly atMs: number;
  readonly kind: 'started' | 'tasks' | 'failure' | 'paused' | 'rolled-back' | 'completed';
  readonly text: string;
  readonly taskId?: string;
  readonly nodeId?: string;
  readonly error?: string;
}

/** The newest events, in the order of their times. */
export function updateStory(view: View, service: Service): StoryEvent[] {
  const revision = view.revisions.get(revisionKey(service.id, service.revision));
  if (revision === undefined) return [];
  const status = statusOf(service, revision);
  // An update that failed and what the cluster did about it are one story.
  const failed = revision.origin?.automatic === true ? revision.revision - 1 : undefined;
  const before = failed === undefined ? undefined : view.revisions.get(revisionKey(service.id, failed));
  const events: StoryEvent[] = [];
  if (before !== undefined) events.push(startOf(before), ...progress(view, before, revision.createdAtMs));
  events.push(startOf(revision));
  if (status !== undefined) events.push(...progress(view, revision, endOf(status)), ...lastOf(status));
  // The sort is stable: of one moment it stays as it is told here.
  return events.sort((a, b) => a.atMs - b.atMs).slice(-EVENTS_SHOWN);
}

/** Unless it tells of an earlier revision's. */
function statusOf({ updateStatus }: Service, { createdAtMs }: Revision): UpdateStatus | undefined {
  return updateStatus !== undefined && updateStatus.startedAtMs >= createdAtMs ? updateStatus : undefined;
}

/** What happens later is no part of the update. A paused one may still see tasks fail. */
function endOf({ completedAtMs }: UpdateStatus): number {
  return completedAtMs ?? Number.POSITIVE_INFINITY;
}

function startOf({ revision, origin, createdAtMs }: Revision): StoryEvent {
  if (origin === undefined) {
    const text = revision === 1 ? 'created, as revision 1' : `updated to revision ${revision}`;
    return { atMs: createdAtMs, kind: 'started', text };
  }
  const which = `revision ${revision} has the spec of revision ${origin.of}`;
  if (!origin.automatic)
    return { atMs: createdAtMs, kind: 'started', text: `rolled back as asked: ${which}` };
  return { atMs: createdAtMs, kind: 'rolled-back', text: `rolled back since the update failed: ${which}` };
}

function lastOf({ completedAtMs, pausedAtMs, message }: UpdateStatus): StoryEvent[] {
  if (completedAtMs !== undefined) return [{ atMs: completedAtMs, kind: 'completed', text: message }];
  return pausedAtMs === undefined ? [] : [{ atMs: pausedAtMs, kind: 'paused', text: message }];
}

interface Seen {
  readonly task: Task;
  readonly status: TaskStatus | undefined;
}

/** The tasks that were made for a revision until `end`, and those that failed. */
function progress(view: View, { serviceId, revision }: Revision, end: number): StoryEvent[] {
  const made: Seen[] = [];
  for (const id of view.tasksOfService(serviceId)) {
    const task = view.tasks.get(id);
    if (task !== undefined && task.revision === revision && task.createdAtMs <= end)
      made.push({ task, status: view.statuses.get(id) });
  }
  made.sort((a, b) => a.task.createdAtMs - b.task.createdAtMs || a.task.slot - b.task.slot);
  return [...batches(view, made), ...made.flatMap((one) => failure(view, one, end))];
}

/** Tasks that were decided upon together have the same time. */
function batches(view: View, made: readonly Seen[]): StoryEvent[] {
  const groups = new Map<string, Task[]>();
  const seen = new Set<string>();
  for (const { task } of made) {
    const place = task.slot > 0 ? String(task.slot) : (task.nodeId ?? '');
    const kind = seen.has(place) ? 'again' : 'first';
    seen.add(place);
    const key = `${task.createdAtMs} ${kind}`;
    groups.set(key, [...(groups.get(key) ?? []), task]);
  }
  return [...groups].flatMap(([key, tasks]): StoryEvent[] => {
    const [first] = tasks;
    if (first === undefined) return [];
    const named = tasks.slice(0, SLOTS_NAMED).map((task) => slotOf(view, task));
    const more = tasks.length > named.length ? `, and ${tasks.length - named.length} more` : '';
    const again = key.endsWith('again') ? 'once more ' : '';
    const count = `${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'}`;
    const text = `started ${again}${count}: ${named.join(', ')}${more}`;
    return [{ atMs: first.createdAtMs, kind: 'tasks', text }];
  });
}

function failure(view: View, { task, status }: Seen, end: number): StoryEvent[] {
  if (status === undefined || status.atMs > end) return [];
  if (!endedByItself(status.state) || status.state === 'complete') return [];
  const error = status.error ?? status.message;
  return [
    {
      atMs: status.atMs,
      kind: 'failure',
      text: `${slotOf(view, task)}: task ${task.id} ${status.state}: ${error}`,
      taskId: task.id,
      ...(task.nodeId === undefined ? {} : { nodeId: task.nodeId }),
      error,
    },
  ];
}

function slotOf(view: View, { slot, nodeId }: Task): string {
  const node = nodeId === undefined ? undefined : view.nodes.get(nodeId);
  const where = node === undefined ? '' : (node.description?.hostname ?? node.id);
  if (slot === 0) return where === '' ? 'no node' : where;
  return where === '' ? `slot ${slot}` : `slot ${slot} on ${where}`;
}
