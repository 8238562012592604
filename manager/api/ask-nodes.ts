/** Questions to several nodes at once: a partial answer is better than none, and says that it is one. */
import type { ServerResponse } from 'node:http';
import type { Request } from 'express';
import { UnavailableError } from '../../shared/errors/index.ts';
import type { Node } from '../../shared/model/index.ts';
import type { NodeMethods } from '../../shared/model/node-methods/index.ts';
import type { ApiContext } from './context.ts';
import { queryText } from './http/query.ts';
import { callNode, NODE_TIMEOUT_MS } from './node-call.ts';
import { untilNodesReport, waitedFor } from './returning-nodes.ts';
import { findNode } from './resources/nodes.ts';

export interface Answers<T> {
  /** In the order of the nodes' index. */
  readonly answers: readonly { readonly nodeId: string; readonly result: T }[];
  /** Nodes that answered with an error. */
  readonly refusals: readonly { readonly nodeId: string; readonly error: Error }[];
  /** Nodes that are ready and did not answer in time. */
  readonly missing: readonly string[];
}

export interface AskOptions {
  /** The only ones to ask; default: all that are connected. */
  readonly nodes?: readonly string[] | undefined;
  readonly timeoutMs?: number;
}

/** Asks at once; nodes that are slow or away are left out and named. */
export async function askNodes<M extends keyof NodeMethods>(
  ctx: ApiContext,
  method: M,
  params: NodeMethods[M]['params'],
  signal: AbortSignal,
  { nodes, timeoutMs = NODE_TIMEOUT_MS }: AskOptions = {},
): Promise<Answers<NodeMethods[M]['result']>> {
  const { asked, missing } = nodesToAsk(ctx, nodes);
  const answers: { nodeId: string; result: NodeMethods[M]['result'] }[] = [];
  const refusals: { nodeId: string; error: Error }[] = [];
  const ask = async (nodeId: string): Promise<void> => {
    try {
      answers.push({ nodeId, result: await callNode(ctx, nodeId, method, params, signal, timeoutMs) });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof UnavailableError) missing.push(nodeId);
      else refusals.push({ nodeId, error: error instanceof Error ? error : new Error(String(error)) });
      ctx.logger.debug({ nodeId, method, err: error }, 'a node gave no answer');
    }
  };
  await Promise.all(asked.map(ask));
  const order = new Map(asked.map((nodeId, i) => [nodeId, i]));
  const byNode = (a: { nodeId: string }, b: { nodeId: string }): number =>
    (order.get(a.nodeId) ?? 0) - (order.get(b.nodeId) ?? 0);
  return { answers: answers.sort(byNode), refusals: refusals.sort(byNode), missing };
}

function nodesToAsk(
  ctx: ApiContext,
  only: readonly string[] | undefined,
): { asked: string[]; missing: string[] } {
  const nodes = [...ctx.store.all('nodes').values()]
    .filter((node) => only?.includes(node.id) ?? true)
    .sort((a, b) => a.index - b.index);
  const asked = nodes.filter((node) => ctx.gateway.connected(node.id));
  const silent = nodes.filter((node) => node.status !== 'down' && !ctx.gateway.connected(node.id));
  return { asked: asked.map(({ id }) => id), missing: silent.map(({ id }) => id) };
}

/** The node that a request's `node` parameter narrows it to; undefined without one. Throws NotFoundError. */
export function queryNode(ctx: ApiContext, req: Request): readonly string[] | undefined {
  const name = queryText(req, 'node') ?? '';
  return name === '' ? undefined : [findNode(ctx, name).id];
}

/** Says in the answer's head which nodes it lacks. */
export function nameMissing(res: ServerResponse, missing: readonly string[]): void {
  if (missing.length > 0) res.setHeader('X-Shoal-Nodes-Missing', [...new Set(missing)].join(','));
}

/**
 * Nodes that take new work: ready, active and connected, the manager's own first; those on their way back are waited for. `only`: of
 * these. Rejects with UnavailableError where there is none.
 */
export async function workingNodes(
  ctx: ApiContext,
  only: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<readonly Node[]> {
  await untilNodesReport(ctx, signal, only);
  const self = ctx.managerNodeId();
  const nodes = [...ctx.store.all('nodes').values()].filter(
    (node) =>
      node.status === 'ready' &&
      (only?.includes(node.id) ?? node.spec.availability === 'active') &&
      ctx.gateway.connected(node.id),
  );
  if (nodes.length === 0) throw new UnavailableError(`no node is ready for it${waitedFor(ctx, only)}`);
  const rank = (node: Node): number => (node.id === self ? -1 : node.index);
  return nodes.sort((a, b) => rank(a) - rank(b));
}
