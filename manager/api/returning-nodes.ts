/**
 * Nodes that are on their way back. When a manager has restarted, its nodes come within seconds, and what needs one waits for
 * that long instead of being refused. Whoever does not come is called down, which ends the wait, too.
 */
import { type AppError, ConflictError } from '../../shared/errors/index.ts';
import type { Node } from '../../shared/model/index.ts';
import { waitsForNodes } from '../plan/schedule/pending-kind.ts';
import type { ApiContext } from './context.ts';
import { waitForStore } from './wait.ts';

/** A node has three times its patience (2 s unless said otherwise) to come back before it is down. */
const PATIENCE_MS = 8_000;
const WAITED = `waited ${PATIENCE_MS / 1_000} s for nodes to report`;

function isComing({ gateway }: ApiContext, node: Node | undefined): boolean {
  if (node?.status === 'unknown') return true;
  return node?.status === 'ready' && node.session !== undefined && !gateway.connected(node.id);
}

function comingNodes(ctx: ApiContext, only: readonly string[] | undefined): Node[] {
  return [...ctx.store.all('nodes').values()].filter(
    (node) => (only?.includes(node.id) ?? true) && isComing(ctx, node),
  );
}

/** Resolves once none of the nodes (`only`: of these) is on its way back, or it has lasted too long. */
export async function untilNodesReport(
  ctx: ApiContext,
  signal: AbortSignal,
  only?: readonly string[],
): Promise<void> {
  await waitForStore(ctx.store, () => comingNodes(ctx, only).length === 0, PATIENCE_MS, signal);
}

/** The same of one node. */
export async function untilNodeReports(ctx: ApiContext, nodeId: string, signal: AbortSignal): Promise<void> {
  const there = (): boolean => !isComing(ctx, ctx.store.get('nodes', nodeId));
  if (!there()) await waitForStore(ctx.store, there, PATIENCE_MS, signal);
}

/** What an error adds when there are nodes that have not come in time. */
export function waitedFor(ctx: ApiContext, only?: readonly string[]): string {
  return comingNodes(ctx, only).length === 0 ? '' : `; ${WAITED}`;
}

/** Why a task is not placed, as an error; undefined while nodes that come back may change that. */
export function notPlaced(reason: string, waited: boolean): AppError | undefined {
  if (!waitsForNodes(reason)) return new ConflictError(reason);
  return waited ? new ConflictError(`${reason}; ${WAITED}`) : undefined;
}

/** Resolves with what `outcome` gives first. `waited`: nodes that were away have had their time to come back. */
export async function outcomeInStore<T>(
  ctx: ApiContext,
  outcome: (waited: boolean) => T | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T | undefined> {
  let found: T | undefined;
  const decided = (waited: boolean) => (): boolean => (found = outcome(waited)) !== undefined;
  if (!(await waitForStore(ctx.store, decided(false), PATIENCE_MS, signal)))
    await waitForStore(ctx.store, decided(true), timeoutMs, signal);
  return found;
}
