import type { Request, Response } from 'express';
import { isAbort } from '../../../shared/lib/abort.ts';
import type { Task } from '../../../shared/model/index.ts';
import type { ApiContext } from '../context.ts';
import { compareVersions } from '../http/api-version.ts';
import { BatchWriter } from '../http/batch-writer.ts';
import { requestSignal } from '../http/respond.ts';
import { detailsText, frame, logLine } from './frame.ts';
import { copyLogs } from './merge.ts';
import { logOptions } from './options.ts';

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
      async (source, chunk) => {
        const details = options.details
          ? detailsText(
              target.swarmDetails
                ? {
                    'com.docker.swarm.node.id': source.nodeId,
                    'com.docker.swarm.service.id': source.serviceId,
                    'com.docker.swarm.task.id': source.taskId,
                  }
                : {},
            )
          : undefined;
        const line = logLine(chunk.data, { timestamps: options.timestamps, details });
        await out.write(target.tty ? line : frame(chunk.stream, line));
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

/** From 1.42 on the two formats have names of their own. */
export function streamContentType(res: Response, tty: boolean): string {
  const asked: unknown = res.locals['apiVersion'];
  const named = typeof asked !== 'string' || compareVersions(asked, '1.42') >= 0;
  return tty || !named ? 'application/vnd.docker.raw-stream' : 'application/vnd.docker.multiplexed-stream';
}
