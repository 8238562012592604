/** Which nodes a global service or job has a task on. */
import type { Node } from '../../../shared/model/index.ts';
import type { ServiceContext } from './context.ts';
import { fitsConstraints } from './dirty.ts';

export function mayTakeTask(node: Node): boolean {
  return node.status === 'ready' && node.spec.availability === 'active';
}

/** A node that is down or paused keeps its task: there is no other place for it. */
export function whyNotGlobal({ spec }: ServiceContext, node: Node): string | undefined {
  if (node.spec.availability === 'drain') return 'the node is drained';
  if (!fitsConstraints(node, spec.placement.constraints)) return 'the node does not meet the constraints';
  return undefined;
}
