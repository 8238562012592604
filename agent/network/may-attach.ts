/** Whether a container can be given its interfaces now. */
import { ConflictError, NotFoundError } from '../../shared/errors/index.ts';
import { portText } from '../../shared/lib/published-port.ts';
import type { AssignmentSet, TaskAssignment } from '../../shared/model/index.ts';
import { requireFree } from './foreign-ports.ts';
import { hostPortsOf, sharedPort } from './host-ports.ts';

/**
 * Throws NotFoundError when a network of the task is not on this node (`sandboxes` by VNI), ConflictError when another
 * container here, or another program, has a port that it publishes on the node.
 */
export async function requireAttachable(
  task: TaskAssignment,
  set: AssignmentSet,
  sandboxes: ReadonlyMap<number, unknown>,
  attached: Iterable<TaskAssignment>,
): Promise<void> {
  const missing = task.addresses.find(({ network }) => {
    const vni = set.networks.get(network)?.vni;
    return vni === undefined || !sandboxes.has(vni);
  });
  if (missing !== undefined) throw new NotFoundError(`network ${missing.network} is not on this node`);
  const shared = sharedPort(task, attached, set.services.values());
  if (shared !== undefined) throw new ConflictError(`port ${shared} is published already on this node`);
  await requireFree(hostPortsOf(task).map(portText));
}
