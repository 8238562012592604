/** Logs of many tasks as one stream of records, in the order of time. */
import { setMaxListeners } from 'node:events';
import { describeError } from '../../../shared/errors/index.ts';
import { isAbort } from '../../../shared/lib/abort.ts';
import type { Task } from '../../../shared/model/index.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { STREAM_WINDOW_BYTES } from '../../../shared/wire/frames.ts';
import type { ApiContext } from '../context.ts';
import type { LogOptions } from './options.ts';
import { keyMs, lastTimeKey, splitAfter, timeKey, wholeRecords } from './record.ts';
import { TimeMerge } from './time-merge.ts';

/** Lines of tasks that are followed and say nothing for so long are not waited for: a later one may come out of order. */
const PATIENCE = { firstMs: 500, nextMs: 100 };
/** What nodes may send ahead for one client, over all tasks. */
const AHEAD_BYTES = 8 * 1024 * 1024;
const MIN_WINDOW_BYTES = 8 * 1024;

/** Where a record came from. */
export interface LogSource {
  readonly nodeId: string;
  readonly serviceId: string;
  readonly taskId: string;
  readonly containerId: string;
}

/** Gets whole records of one stream of the source, as many as come together. */
export type LogSink = (source: LogSource, chunk: StreamChunk) => Promise<void>;

/** Records of one task that follow one another. */
interface LogRun {
  /** Of the first. */
  readonly key: string;
  readonly source: LogSource;
  readonly chunk: StreamChunk;
}

/** What is known of a task whose log is read. */
interface Reading {
  readonly source: LogSource;
  /** Time of its last record. */
  lastKey: string | undefined;
  /** Its node went away; when it is back, the rest is read. */
  lost: boolean;
}

/** The container of a task, once there is one. */
export function logSource(ctx: ApiContext, task: Task): LogSource | undefined {
  const containerId = ctx.store.get('statuses', task.id)?.container?.containerId;
  if (containerId === undefined || task.nodeId === undefined) return undefined;
  return { nodeId: task.nodeId, serviceId: task.serviceId, taskId: task.id, containerId };
}

/**
 * Copies the logs of all tasks that `tasks` names into the sink, oldest first. With follow, tasks that
 * appear later are joined, until the signal aborts, `ended` says that nothing more can come, or the time `until` is there.
 * A node that can not be reached gives a record on stderr in place of the rest of its logs; with follow they go on when it is
 * back.
 */
export async function copyLogs(
  ctx: ApiContext,
  tasks: () => Iterable<Task>,
  ended: () => boolean,
  options: LogOptions,
  sink: LogSink,
  signal: AbortSignal,
): Promise<void> {
  const { follow } = options.params;
  const over = new AbortController();
  const stop = AbortSignal.any([signal, over.signal]);
  // One for each task: Node warns of more than ten.
  setMaxListeners(0, stop);
  const merge = new TimeMerge(follow ? PATIENCE : undefined, cutRun);
  const readings = new Map<string, Reading>();
  const join = (): void => {
    const fresh = [...tasks()].flatMap((task) => (readings.has(task.id) ? [] : (logSource(ctx, task) ?? [])));
    const windowBytes = windowFor(readings.size + fresh.length);
    for (const source of fresh) {
      const reading: Reading = { source, lastKey: undefined, lost: false };
      readings.set(source.taskId, reading);
      merge.add(recordsOf(ctx, reading, options, windowBytes, stop));
    }
    for (const reading of follow ? readings.values() : []) {
      if (!reading.lost || !ctx.gateway.connected(reading.source.nodeId)) continue;
      reading.lost = false;
      merge.add(recordsOf(ctx, reading, options, windowBytes, stop));
    }
  };
  const look = (): void => {
    join();
    if (ended()) merge.seal();
  };
  const undo = follow ? whenTasksChange(ctx, look) : () => undefined;
  const timer = follow ? atTime(ctx, options.params.untilMs, () => merge.drain()) : undefined;
  try {
    join();
    if (!follow || ended()) merge.seal();
    for await (const { source, chunk } of merge.run(stop)) await sink(source, chunk);
  } finally {
    clearTimeout(timer);
    undo();
    over.abort();
  }
}

function windowFor(readings: number): number {
  const share = Math.floor(AHEAD_BYTES / Math.max(1, readings));
  return Math.max(MIN_WINDOW_BYTES, Math.min(STREAM_WINDOW_BYTES, share));
}

function whenTasksChange(ctx: ApiContext, look: () => void): () => void {
  const tables: readonly string[] = ['statuses', 'tasks', 'services', 'nodes'];
  return ctx.store.onChange((changes) => {
    if (changes.some(({ table }) => tables.includes(table))) look();
  });
}

function atTime(ctx: ApiContext, ms: number | undefined, act: () => void): NodeJS.Timeout | undefined {
  if (ms === undefined) return undefined;
  return setTimeout(act, Math.min(2 ** 31 - 1, Math.max(0, ms - ctx.clock.now())));
}

/** The records of a run that are not later than `key`, and the rest. Undefined: none is later. */
function cutRun(run: LogRun, key: string): readonly [LogRun, LogRun] | undefined {
  const { source, chunk } = run;
  if (lastTimeKey(chunk.data) <= key) return undefined;
  const [first, rest] = splitAfter(chunk.data, key);
  if (first.length === 0 || rest.length === 0) return undefined;
  const of = (data: Buffer): LogRun => ({ key: timeKey(data), source, chunk: { ...chunk, data } });
  return [of(first), of(rest)];
}

async function* recordsOf(
  ctx: ApiContext,
  reading: Reading,
  options: LogOptions,
  windowBytes: number,
  signal: AbortSignal,
): AsyncGenerator<LogRun> {
  const { source, lastKey: after } = reading;
  const { gateway } = ctx;
  const { tail: _all, ...rest } = options.params;
  const resumed = after === undefined ? options.params : { ...rest, sinceMs: keyMs(after) };
  const params = { ...resumed, containerId: source.containerId };
  try {
    if (!gateway.connected(source.nodeId)) throw new Error('the node is not connected');
    const chunks = gateway.stream(source.nodeId, 'container.logs', params, signal, windowBytes);
    for await (const chunk of wholeRecords(chunks)) {
      const data = after === undefined ? chunk.data : splitAfter(chunk.data, after)[1];
      if (data.length === 0) continue;
      reading.lastKey = lastTimeKey(data);
      yield { key: timeKey(data), source, chunk: { ...chunk, data } };
    }
  } catch (error) {
    if (signal.aborted || isAbort(error)) throw error;
    reading.lost = true;
    if (!options.params.stderr) return;
    const data = apology(ctx, source, error);
    yield { key: timeKey(data), source, chunk: { stream: 2, data } };
  }
}

function apology(ctx: ApiContext, source: LogSource, error: unknown): Buffer {
  const node = ctx.store.get('nodes', source.nodeId);
  const name = node?.spec.name ?? node?.description?.hostname ?? source.nodeId;
  const time = new Date(ctx.clock.now()).toISOString();
  const text = `shoal: logs of task ${source.taskId} on node ${name} are incomplete: ${describeError(error)}`;
  return Buffer.from(`${time} ${text}\n`);
}
