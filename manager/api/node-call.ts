import { UnavailableError } from '../../shared/errors/index.ts';
import type { NodeMethods } from '../../shared/model/node-methods/index.ts';
import type { ApiContext } from './context.ts';

export const NODE_TIMEOUT_MS = 3_000;

/**
 * Asks the node that holds something. Rejects with UnavailableError, which names the node, when it is not connected or
 * does not answer within `timeoutMs` (Infinity: however long it takes), else with the node's own error.
 */
export async function callNode<M extends keyof NodeMethods>(
  ctx: ApiContext,
  nodeId: string,
  method: M,
  params: NodeMethods[M]['params'],
  signal: AbortSignal,
  timeoutMs: number = NODE_TIMEOUT_MS,
): Promise<NodeMethods[M]['result']> {
  if (!ctx.gateway.connected(nodeId)) throw new UnavailableError(`node ${nodeId} is not connected`);
  if (timeoutMs === Infinity) return ctx.gateway.call(nodeId, method, params, signal);
  const late = AbortSignal.timeout(timeoutMs);
  try {
    return await ctx.gateway.call(nodeId, method, params, AbortSignal.any([signal, late]));
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) throw new UnavailableError(`node ${nodeId} did not answer within ${timeoutMs} ms`);
    throw error;
  }
}
