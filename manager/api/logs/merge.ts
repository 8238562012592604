/** Logs of many tasks as one stream of records, in the order of arrival. */
import { describeError } from '../../../shared/errors/index.ts';
import { isAbort } from '../../../shared/lib/abort.ts';
import { Mutex } from '../../../shared/lib/mutex.ts';
import type { Task } from '../../../shared/model/index.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import type { ApiContext } from '../context.ts';
import type { LogOptions } from './options.ts';
import { RecordJoiner } from './records.ts';

/** Where a record came from. */
export interface LogSource {
  readonly nodeId: string;
  readonly serviceId: string;
  readonly taskId: string;
  readonly containerId: string;
}

/** Gets whole records, `<time> <text>\n`, as many as came together from the source. */
export type LogSink = (source: LogSource, chunk: StreamChunk) => Promise<void>;

/** The container of a task, once there is one. */
export function logSource(ctx: ApiContext, task: Task): LogSource | undefined {
  const containerId = ctx.store.get('statuses', task.id)?.container?.containerId;
  if (containerId === undefined || task.nodeId === undefined) return undefined;
  return { nodeId: task.nodeId, serviceId: task.serviceId, taskId: task.id, containerId };
}

/**
 * Copies the logs of all tasks that `tasks` names into the sink, whole records at a time. With follow, tasks that appear
 * later are joined, until the signal aborts or `ended` says that nothing more can come. A node that can not be reached
 * gives a record on stderr in place of its logs.
 */
export async function copyLogs(
  ctx: ApiContext,
  tasks: () => Iterable<Task>,
  ended: () => boolean,
  options: LogOptions,
  sink: LogSink,
  signal: AbortSignal,
): Promise<void> {
  const turns = new Mutex();
  const copies = new Map<string, Promise<void>>();
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const inTurn: LogSink = (source, chunk) => turns.run(() => sink(source, chunk));
  const join = (): void => {
    for (const task of tasks()) {
      const source = logSource(ctx, task);
      if (source === undefined || copies.has(task.id)) continue;
      const copy = copyOne(ctx, source, options, inTurn, stop);
      copies.set(task.id, copy);
      copy.catch((error: unknown) => failed.abort(error));
    }
  };
  join();
  if (options.params.follow) await followTasks(ctx, join, ended, stop);
  await Promise.all(copies.values());
}

/** Joins tasks as their containers appear. Resolves when `ended`. */
async function followTasks(
  ctx: ApiContext,
  join: () => void,
  ended: () => boolean,
  stop: AbortSignal,
): Promise<void> {
  if (ended()) return;
  await new Promise<void>((resolve, reject) => {
    const settle = (): void => {
      undo();
      stop.removeEventListener('abort', settle);
      if (stop.aborted) reject(stop.reason);
      else resolve();
    };
    const undo = ctx.store.onChange((changes) => {
      const relevant = changes.some(
        (c) => c.table === 'statuses' || c.table === 'tasks' || c.table === 'services',
      );
      if (!relevant) return;
      join();
      if (ended()) settle();
    });
    stop.addEventListener('abort', settle, { once: true });
    if (stop.aborted) settle();
  });
}

async function copyOne(
  ctx: ApiContext,
  source: LogSource,
  options: LogOptions,
  sink: LogSink,
  signal: AbortSignal,
): Promise<void> {
  const params = { ...options.params, containerId: source.containerId };
  try {
    if (!ctx.gateway.connected(source.nodeId)) throw new Error('the node is not connected');
    const whole = new RecordJoiner();
    for await (const { stream, data } of ctx.gateway.stream(
      source.nodeId,
      'container.logs',
      params,
      signal,
    )) {
      const records = whole.push(data);
      if (records.length > 0) await sink(source, { stream, data: records });
    }
  } catch (error) {
    if (signal.aborted || isAbort(error)) throw error;
    if (!options.params.stderr) return;
    await sink(source, { stream: 2, data: apology(ctx, source, error) });
  }
}

function apology(ctx: ApiContext, source: LogSource, error: unknown): Buffer {
  const node = ctx.store.get('nodes', source.nodeId);
  const name = node?.spec.name ?? node?.description?.hostname ?? source.nodeId;
  const time = new Date(ctx.clock.now()).toISOString();
  const text = `shoal: logs of task ${source.taskId} on node ${name} are incomplete: ${describeError(error)}`;
  return Buffer.from(`${time} ${text}\n`);
}
