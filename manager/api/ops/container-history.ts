/** docker rm of a container that belongs to a service. */
import { ConflictError } from '../../../shared/errors/index.ts';
import { isTerminal } from '../../../shared/model/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { waitForStore } from '../wait.ts';

/** Its node removes the container when its task's record is gone. */
const REMOVAL_WAIT_MS = 30_000;

/**
 * Removes the container of a task that is history: it has ended, and its service does not need it to know that it is done.
 * Throws ConflictError for every other.
 */
export async function removeServiceContainer(
  ctx: ApiContext,
  { id, taskId, serviceName }: PlacedContainer,
  signal: AbortSignal,
): Promise<void> {
  const { store } = ctx;
  const task = store.get('tasks', taskId);
  const status = store.get('statuses', taskId);
  if (task === undefined) return;
  const why =
    status === undefined || !isTerminal(status.state)
      ? 'it has not ended'
      : task.desired === 'shutdown' || task.desired === 'remove'
        ? undefined
        : 'its end is why the service does not start another';
  if (why !== undefined)
    throw new ConflictError(
      `container ${id} belongs to service ${serviceName}, which decides over it: it can not be removed, ${why} ` +
        '(remove, update or scale the service)',
    );
  const expect = store.version('tasks', taskId);
  await store.commit(
    [
      { table: 'tasks', key: taskId, value: null, expect },
      { table: 'statuses', key: taskId, value: null },
    ],
    { signal },
  );
  await waitForStore(store, () => store.get('tasks', taskId) === undefined, REMOVAL_WAIT_MS, signal);
}
