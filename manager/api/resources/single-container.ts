/** What is said of single containers, and of those that are none. */
import { ConflictError } from '../../../shared/errors/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { containerEvent } from '../events/container-event.ts';
import type { StoredContainer } from '../ops/container-reads.ts';

export function serviceDecides(action: string, { id, serviceName }: PlacedContainer): ConflictError {
  return new ConflictError(
    `container ${id} belongs to service ${serviceName}, which decides over it: it can not be told to ${action} ` +
      `(update or scale the service)`,
  );
}

export function eventOf(action: string, container: StoredContainer, more: Record<string, string> = {}) {
  const { id, service, revision, task } = container;
  const { image, labels } = revision.spec.container;
  const where = task?.nodeId === undefined ? {} : { nodeId: task.nodeId };
  return containerEvent(action, { id, image, labels, name: service.name, ...where }, more);
}
