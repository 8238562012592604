/** Events of one container that the API is asked to do something to: what the store's changes do not tell. */
import type { ContainerInfo } from '../../../shared/model/node-methods/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { draft, type EventDraft } from './event.ts';

/**
 * `exec_create`, `exec_start`, `exec_die`, `kill`, `stop`, `pause`, `unpause`, `rename`, `resize`, `attach`, `detach`, `top`,
 * `archive-path`, `extract-to-dir`, ... with the container's labels as attributes, as Docker has them.
 */
export function containerEvent(
  action: string,
  container: Pick<ContainerInfo, 'id' | 'image' | 'name' | 'labels'> &
    Partial<Pick<PlacedContainer, 'nodeId'>>,
  more: Readonly<Record<string, string>> = {},
): EventDraft {
  const { id, image, name, labels, nodeId } = container;
  const where: Record<string, string> = nodeId === undefined ? {} : { 'com.docker.swarm.node.id': nodeId };
  return draft('container', action, id, { ...labels, ...where, image, name, ...more });
}
