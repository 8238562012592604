/** What a node says of its containers and what the store knows of single ones, put together. */
import type { Task } from '../../../shared/model/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { fromStore } from '../codec/standalone-codec.ts';
import type { ApiContext } from '../context.ts';
import type { LogTarget } from '../logs/respond.ts';
import { callNode } from '../node-call.ts';
import { containerById, stateOf, type StoredContainer, storedContainers } from './container-reads.ts';
import type { Store } from '../../store/store.ts';

/** The list with single containers under their names, and with those whose nodes do not say anything of them. */
export function withStored(store: Store, listed: readonly PlacedContainer[]): PlacedContainer[] {
  const seen = new Set<string>();
  const shown = listed.flatMap((container): PlacedContainer[] => {
    if (container.details === undefined) return [container];
    const stored = containerById(store, container.id);
    // On a node that is told to remove it.
    if (stored === undefined || stored.task?.nodeId !== container.nodeId) return [];
    seen.add(container.id);
    return [together(container, stored)];
  });
  const silent = [...storedContainers(store)].filter(({ id }) => !seen.has(id));
  return [...shown, ...silent.map((stored) => fromStore(stored, stateOf(stored)))];
}

/** The node knows whether it runs; the store, whether it is about to run again or to go. */
function together(container: PlacedContainer, stored: StoredContainer): PlacedContainer {
  const known = stateOf(stored);
  const isUp = container.state === 'running' || container.state === 'paused';
  const state = known === 'removing' || (known === 'restarting' && !isUp) ? known : container.state;
  return { ...container, name: stored.service.name, state, stored };
}

/** As its node describes it; from the store when that has not made it yet. Rejects when the node can not be reached. */
export async function inspectStored(
  ctx: ApiContext,
  stored: StoredContainer,
  signal: AbortSignal,
): Promise<PlacedContainer> {
  const { id, task, node } = stored;
  const silent = node === undefined || node.status === 'down' || !ctx.gateway.connected(node.id);
  if (task?.nodeId === undefined || silent) return fromStore(stored, stateOf(stored));
  const { nodeId } = task;
  const info = await callNode(ctx, nodeId, 'container.inspect', { containerId: id }, signal);
  return together({ ...info, nodeId }, stored);
}

/** Its log goes on over its starts: following ends with the run that it began in. */
export function singleLogTarget({ task, revision }: StoredContainer): LogTarget {
  const tasks: readonly Task[] = task === undefined ? [] : [task];
  return {
    tasks: () => tasks,
    ended: () => true,
    tty: revision.spec.container.tty === true,
    swarmDetails: false,
  };
}
