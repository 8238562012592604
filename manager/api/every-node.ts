/** Questions to all nodes at once. */
import type { NodeMethods } from '../../shared/model/node-methods/index.ts';
import type { ApiContext } from './context.ts';
import { NODE_TIMEOUT_MS } from './node-call.ts';

export interface Answers<R> {
  readonly answers: readonly { readonly nodeId: string; readonly result: R }[];
  /** Ids of nodes that are not down and did not answer in time. */
  readonly missing: readonly string[];
}

/** Those that fail or are slow are left out and named: a partial answer is better than none. */
export async function askEveryNode<M extends keyof NodeMethods>(
  ctx: ApiContext,
  method: M,
  params: NodeMethods[M]['params'],
  signal: AbortSignal,
  timeoutMs: number = NODE_TIMEOUT_MS,
): Promise<Answers<NodeMethods[M]['result']>> {
  const answers: { nodeId: string; result: NodeMethods[M]['result'] }[] = [];
  const missing: string[] = [];
  const ask = async (nodeId: string): Promise<void> => {
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      answers.push({ nodeId, result: await ctx.gateway.call(nodeId, method, params, limit) });
    } catch (error) {
      signal.throwIfAborted();
      ctx.logger.warn({ nodeId, method, err: error }, 'a node did not answer');
      missing.push(nodeId);
    }
  };
  const nodes = [...ctx.store.all('nodes').values()].filter((node) => node.status !== 'down');
  missing.push(...nodes.filter(({ id }) => !ctx.gateway.connected(id)).map(({ id }) => id));
  await Promise.all(nodes.filter(({ id }) => ctx.gateway.connected(id)).map(({ id }) => ask(id)));
  return { answers, missing };
}
