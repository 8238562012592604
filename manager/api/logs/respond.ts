import type { Request, Response } from 'express';
import { isAbort } from '../../../shared/lib/abort.ts';
import type { Task } from '../../../shared/model/index.ts';
import type { ApiContext } from '../context.ts';
import { compareVersions } from '../http/api-version.ts';
import { BatchWriter } from '../http/batch-writer.ts';
import { requestSignal } from '../http/respond.ts';
import { detailsText } from './frame.ts';
import { copyLogs, type LogSource } from './merge.ts';
import { logOptions } from './options.ts';
import { frameRecords } from './records.ts';

export interface LogTarget {
  readonly tasks: () => Iterable<Task>;
  /** With follow: true once no more tasks can come. */
  readonly ended: () => boolean;
  readonly tty: boolean;
  /** Put the swarm's labels into the details, as service and task logs have them. */
  readonly swarmDetails: boolean;
}

/** Answers a request for logs: 200 and a stream of frames, or of bare text when the container has a TTY. */
export async function respondLogs(
  ctx: ApiContext,
  req: Request,
  res: Response,
  target: LogTarget,
): Promise<void> {
  const options = logOptions(req);
  const signal = requestSignal(res, ctx.signal);
  res.statusCode = 200;
  res.setHeader('Content-Type', streamContentType(res, target.tty));
  res.flushHeaders();
  const out = new BatchWriter(res, signal);
  try {
    await copyLogs(
      ctx,
      target.tasks,
      target.ended,
      options,
      async (source, { stream, data }) => {
        const details = options.details ? detailsOf(source, target.swarmDetails) : NO_DETAILS;
        const form = { timestamps: options.timestamps, details, framed: !target.tty };
        await out.write(frameRecords(stream, data, form));
      },
      signal,
    );
    await out.flush();
    res.end();
  } catch (error) {
    if (!signal.aborted && !isAbort(error)) throw error;
    res.end();
  }
}

const NO_DETAILS = Buffer.alloc(0);

/** With the space that follows. */
function detailsOf(source: LogSource, ofSwarm: boolean): Buffer {
  const labels = {
    'com.docker.swarm.node.id': source.nodeId,
    'com.docker.swarm.service.id': source.serviceId,
    'com.docker.swarm.task.id': source.taskId,
  };
  return Buffer.from(`${detailsText(ofSwarm ? labels : {})} `);
}

/** From 1.42 on the two formats have names of their own. */
export function streamContentType(res: Response, tty: boolean): string {
  const asked: unknown = res.locals['apiVersion'];
  const named = typeof asked !== 'string' || compareVersions(asked, '1.42') >= 0;
  return tty || !named ? 'application/vnd.docker.raw-stream' : 'application/vnd.docker.multiplexed-stream';
}
