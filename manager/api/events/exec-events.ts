/** Events of commands in containers: `exec_create: CMD`, `exec_start: CMD`, and `exec_die` whenever it ends. */
import { describeError } from '../../../shared/errors/index.ts';
import type { ExecSpec } from '../../../shared/model/node-methods/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { callNode } from '../node-call.ts';
import { containerEvent } from './container-event.ts';

export function emitExecCreated(ctx: ApiContext, container: PlacedContainer, spec: ExecSpec): void {
  const { execId, args } = spec;
  ctx.events.emit(containerEvent(`exec_create: ${args.join(' ')}`, container, { execID: execId }));
}

/** Nobody waits for it: the command is started already, and may go on for long after its client has left. */
export function followExec(ctx: ApiContext, nodeId: string, spec: ExecSpec): void {
  follow(ctx, nodeId, spec).catch((error: unknown) => {
    if (!ctx.signal.aborted)
      ctx.logger.debug(
        { execId: spec.execId, reason: describeError(error) },
        'the end of an exec is not known',
      );
  });
}

async function follow(ctx: ApiContext, nodeId: string, spec: ExecSpec): Promise<void> {
  const { execId, containerId, args } = spec;
  // Of its own: as many listen to the manager's end as commands run.
  const signal = AbortSignal.any([ctx.signal]);
  const info = await callNode(ctx, nodeId, 'container.inspect', { containerId }, signal);
  const container = { ...info, nodeId };
  ctx.events.emit(containerEvent(`exec_start: ${args.join(' ')}`, container, { execID: execId }));
  const { exitCode } = await callNode(ctx, nodeId, 'exec.wait', { execId }, signal, Infinity);
  ctx.events.emit(containerEvent('exec_die', container, { execID: execId, exitCode: String(exitCode) }));
}
