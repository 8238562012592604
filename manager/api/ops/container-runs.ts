/** Starts, stops and ends of single containers: what is wanted is written, and what becomes of it is watched in the store. */
import {
  AppError,
  ConflictError,
  InvalidError,
  NotFoundError,
  UnavailableError,
} from '../../../shared/errors/index.ts';
import { isTerminal, type Node, type TaskStatus } from '../../../shared/model/index.ts';
import type { Change } from '../../store/store.ts';
import type { ApiContext } from '../context.ts';
import { callNode } from '../node-call.ts';
import { signalNumber } from '../resources/container-actions.ts';
import { nodeName } from '../resources/nodes.ts';
import { notPlaced, outcomeInStore, untilNodeReports } from '../returning-nodes.ts';
import { waitForStore } from '../wait.ts';
import { containerById, hasEnded, isLive, stateOf, type StoredContainer } from './container-reads.ts';
import { AS_LONG_AS_IT_TAKES_MS, wantContainer } from './containers.ts';

/** A node is not waited for longer than this when it removes a container's files. */
const NODE_REMOVAL_MS = 60_000;

/** Rejects with UnavailableError that names the node when it can not be asked, ConflictError when it was removed. */
export async function requireNode(
  ctx: ApiContext,
  { task, id }: StoredContainer,
  signal: AbortSignal,
): Promise<string> {
  if (task?.nodeId === undefined) throw new ConflictError(`container ${id} is on no node yet`);
  await untilNodeReports(ctx, task.nodeId, signal);
  const node = ctx.store.get('nodes', task.nodeId);
  if (node === undefined) throw new ConflictError(`the node of container ${id} was removed from the cluster`);
  if (node.status === 'down' || !ctx.gateway.connected(node.id)) throw unreachable(node);
  return node.id;
}

function unreachable(node: Node): UnavailableError {
  return new UnavailableError(`node ${nodeName(node)}, which has the container, is not connected`);
}

/** Resolves when its command runs, or has run: `false` when it did before. Rejects with why it could not be run. */
export async function startContainer(
  ctx: ApiContext,
  container: StoredContainer,
  signal: AbortSignal,
): Promise<boolean> {
  if (isLive(container)) return false;
  await requireNode(ctx, container, signal);
  const { serial } = await wantContainer(
    ctx,
    container.service.id,
    (run) => ({ wanted: 'running', serial: run.serial + 1 }),
    signal,
  );
  const decided = (waited: boolean) => startOutcome(ctx, container.id, serial, waited);
  const outcome = await outcomeInStore(ctx, decided, AS_LONG_AS_IT_TAKES_MS, signal);
  if (!(outcome instanceof AppError)) return true;
  await giveUp(ctx, container, serial, signal);
  throw outcome;
}

function startOutcome(
  ctx: ApiContext,
  id: string,
  serial: number,
  waited: boolean,
): AppError | 'runs' | undefined {
  const container = containerById(ctx.store, id);
  if (container === undefined) return new NotFoundError(`No such container: ${id}`);
  const { task, taskState, status, node } = container;
  if (task === undefined || taskState === undefined) return undefined;
  if (task.pendingReason !== undefined) return notPlaced(task.pendingReason, waited);
  if ((task.run?.serial ?? 0) > serial) return 'runs';
  if (task.run?.serial !== serial) return undefined;
  if (taskState === 'running') return 'runs';
  if (isTerminal(taskState)) {
    if (status?.startedAtMs !== undefined) return 'runs';
    return new InvalidError(status?.error ?? `the container could not be started: ${taskState}`);
  }
  return node?.status === 'down' ? unreachable(node) : undefined;
}

/** What could not be started is not to start later, when nobody expects it. */
async function giveUp(
  ctx: ApiContext,
  { service }: StoredContainer,
  serial: number,
  signal: AbortSignal,
): Promise<void> {
  const change = (run: { wanted: 'created' | 'running' | 'held' | 'stopped'; serial: number }) =>
    run.serial === serial ? { ...run, wanted: 'stopped' as const } : run;
  await wantContainer(ctx, service.id, change, signal).catch((error: unknown) => {
    if (!(error instanceof NotFoundError)) throw error;
  });
}

export interface StopOptions {
  readonly signal?: string;
  /** Negative: as long as it takes. */
  readonly graceMs?: number;
}

/**
 * Resolves when it has ended, with `false` when it had before. Its policy does not start it again. On a node that is not
 * connected it is stopped when that is back.
 */
export async function stopContainer(
  ctx: ApiContext,
  container: StoredContainer,
  options: StopOptions,
  signal: AbortSignal,
): Promise<boolean> {
  if (!isLive(container) && stateOf(container) !== 'restarting') return false;
  const { service, task } = container;
  const begun = container.taskState === 'running';
  const nodeId = task?.nodeId ?? '';
  await untilNodeReports(ctx, nodeId, signal);
  const reachable = ctx.gateway.connected(nodeId);
  const wanted = begun && reachable ? ('held' as const) : ('stopped' as const);
  await wantContainer(ctx, service.id, (run) => ({ ...run, wanted }), signal);
  if (!reachable) return true;
  if (begun) {
    try {
      const params = { containerId: container.id, ...options };
      await callNode(ctx, nodeId, 'container.stop', params, signal, Infinity);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof UnavailableError)) throw error;
      // The node was lost meanwhile: it stops the container when it is back.
      await wantContainer(ctx, service.id, (run) => ({ ...run, wanted: 'stopped' }), signal);
    }
  }
  await untilEnded(ctx, container.id, signal, nodeId);
  return true;
}

/** Sends it a signal. After one that is to end it, its policy does not start it again. */
export async function killContainer(
  ctx: ApiContext,
  container: StoredContainer,
  name: string,
  number: string,
  signal: AbortSignal,
): Promise<void> {
  if (!isLive(container)) throw new ConflictError(`Container ${container.id} is not running`);
  const nodeId = await requireNode(ctx, container, signal);
  const ends = ['9', '15', signalNumber(container.revision.spec.container.stopSignal ?? '')].includes(number);
  if (ends) await wantContainer(ctx, container.service.id, (run) => ({ ...run, wanted: 'held' }), signal);
  await callNode(ctx, nodeId, 'container.kill', { containerId: container.id, signal: name }, signal);
  if (number === '9') await untilEnded(ctx, container.id, signal);
}

/** Resolves when its newest run has ended and none follows, or it is gone; also when this node is down, which says no more. */
async function untilEnded(ctx: ApiContext, id: string, signal: AbortSignal, nodeId?: string): Promise<void> {
  const ended = (): boolean => {
    const container = containerById(ctx.store, id);
    if (nodeId !== undefined && ctx.store.get('nodes', nodeId)?.status === 'down') return true;
    return container === undefined || hasEnded(container);
  };
  await waitForStore(ctx.store, ended, AS_LONG_AS_IT_TAKES_MS, signal);
}

/** Resolves when it is gone, from its node, too, if that can be asked: its volumes and its image are free then. */
export async function untilRemoved(
  ctx: ApiContext,
  { id, service, task }: StoredContainer,
  signal: AbortSignal,
): Promise<void> {
  const gone = (): boolean => ctx.store.get('services', service.id) === undefined;
  await waitForStore(ctx.store, gone, AS_LONG_AS_IT_TAKES_MS, signal);
  const nodeId = task?.nodeId ?? '';
  if (!ctx.gateway.connected(nodeId)) return;
  try {
    await callNode(ctx, nodeId, 'container.until-removed', { containerId: id }, signal, NODE_REMOVAL_MS);
  } catch (error) {
    signal.throwIfAborted();
    ctx.logger.warn(
      { containerId: id, nodeId, err: error },
      'a node did not say that it removed a container',
    );
  }
}

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

/** Resolves with the exit code of its newest run once the condition holds: 0 when it never was started. */
export async function waitForExit(
  ctx: ApiContext,
  container: StoredContainer,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<number> {
  const { store } = ctx;
  const { id, service } = container;
  const ownTasks = new Set(store.tasksOfService(service.id));
  const endedBefore = hasEnded(container) ? container.task?.id : undefined;
  let last = container.status;
  const note = (changes: readonly Change[]): void => {
    for (const change of changes) {
      if (change.table === 'tasks' && change.after?.serviceId === service.id) ownTasks.add(change.key);
      const status = change.table === 'statuses' && ownTasks.has(change.key) ? change.after : undefined;
      if (status !== undefined && isTerminal(status.state)) last = status;
    }
  };
  const holds = (): boolean => {
    const now = containerById(store, id);
    if (now === undefined) return true;
    if (condition === 'removed') return false;
    if (condition === 'next-exit') return hasEnded(now) && now.task?.id !== endedBefore;
    return hasEnded(now) || (now.service.run?.wanted === 'created' && !isLive(now));
  };
  await untilHolds(ctx, note, holds, signal);
  if (condition === 'removed') await untilRemoved(ctx, container, signal);
  return exitCodeOf(last);
}

async function untilHolds(
  { store }: ApiContext,
  note: (changes: readonly Change[]) => void,
  holds: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  const undo = store.onChange(note);
  try {
    await waitForStore(store, holds, AS_LONG_AS_IT_TAKES_MS, signal);
  } finally {
    undo();
  }
}

function exitCodeOf(status: TaskStatus | undefined): number {
  if (status === undefined || !isTerminal(status.state)) return 0;
  const { container, state } = status;
  return container?.exitCode ?? (state === 'complete' || state === 'shutdown' ? 0 : 125);
}
