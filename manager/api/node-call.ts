import { ConflictError, UnavailableError } from '../../shared/errors/index.ts';
import type { NodeMethods } from '../../shared/model/node-methods/index.ts';
import type { ApiContext } from './context.ts';
import { untilNodeReports, waitedFor } from './returning-nodes.ts';

export const NODE_TIMEOUT_MS = 3_000;

/** Resolves once the node can be asked, which may take seconds while it is on its way back; rejects with UnavailableError, for no node with ConflictError. */
export async function requireConnected(ctx: ApiContext, nodeId: string, signal: AbortSignal): Promise<void> {
  if (ctx.gateway.connected(nodeId)) return;
  if (nodeId === '') throw new ConflictError('it is on no node now: it is being removed, or waits for one');
  await untilNodeReports(ctx, nodeId, signal);
  if (!ctx.gateway.connected(nodeId))
    throw new UnavailableError(`node ${nodeId} is not connected${waitedFor(ctx, [nodeId])}`);
}

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
  await requireConnected(ctx, nodeId, signal);
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
