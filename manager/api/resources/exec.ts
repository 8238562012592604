/** Commands in containers of the whole cluster: made and run by the node that holds the container. */
import { Router } from 'express';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { ConflictError, InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { newContainerId } from '../../../shared/lib/ids.ts';
import type { Node } from '../../../shared/model/index.ts';
import type { ExecInfo, ExecSpec, TerminalSize } from '../../../shared/model/node-methods/index.ts';
import { zFlag, zText, zTexts } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { emitExecCreated, followExec } from '../events/exec-events.ts';
import { readJson } from '../http/body.ts';
import { refuseInputWithoutConnection, relay } from '../http/attached.ts';
import { openChannel } from '../http/channel.ts';
import { noteChanges } from '../../request-scope.ts';
import { queryDimension } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { streamContentType } from '../logs/respond.ts';
import { callNode } from '../node-call.ts';
import { findContainer } from './containers.ts';

/** Digits of an exec's id that are its node's index: so every manager knows where it is, and none has to remember. */
const INDEX_DIGITS = 8;

/** Rows, columns. */
const zSize = z.array(z.number().int().nonnegative().max(65_535)).length(2).nullish();

export const createSchema = z.object({
  Cmd: zTexts,
  Env: zTexts,
  User: zText,
  WorkingDir: zText,
  Privileged: zFlag,
  Tty: zFlag,
  AttachStdin: zFlag,
  AttachStdout: zFlag,
  AttachStderr: zFlag,
  // The client's own affairs: it detaches by itself, and says at the start what it wants.
  Detach: zFlag,
  DetachKeys: zText,
  ConsoleSize: zSize,
});

export const startSchema = z.object({
  Detach: zFlag,
  Tty: zFlag,
  ConsoleSize: zSize,
  // dockerode sends its own options along.
  hijack: zFlag,
  stdin: zFlag,
});

export function execRouter(ctx: ApiContext): Router {
  const router = Router();

  router.post('/containers/:id/exec', async (req, res) => {
    const body = parseStrict(createSchema, await readJson(req), 'exec');
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const execId = newExecId(ctx, container.nodeId);
    const spec = execSpec(execId, container.id, body);
    await callNode(ctx, container.nodeId, 'exec.create', spec, signal);
    emitExecCreated(ctx, container, spec);
    const what = spec.privileged === true ? 'privileged exec' : 'exec';
    noteChanges([`create ${what} ${execId} in container ${container.name}`]);
    sendJson(res, 201, { Id: execId });
  });

  router.post('/exec/:id/start', async (req, res) => {
    const body = parseStrict(startSchema, await readJson(req), 'exec start');
    const signal = requestSignal(res, ctx.signal);
    const { nodeId, info } = await findExec(ctx, req.params.id, signal);
    if (info.state !== 'created')
      throw new ConflictError(`exec command ${info.spec.execId} has been started`);
    noteChanges([`run exec in container ${info.spec.containerId}`]);
    const size = terminalSize(body.ConsoleSize);
    const params = { execId: info.spec.execId, ...(size === undefined ? {} : { size }) };
    if (body.Detach === true) {
      await callNode(ctx, nodeId, 'exec.start', params, signal, Infinity);
      followExec(ctx, nodeId, info.spec);
      return sendEmpty(res, 200);
    }
    const ended = attach(ctx, req, res, nodeId, info.spec, params);
    followExec(ctx, nodeId, info.spec);
    await ended;
  });

  router.post('/exec/:id/resize', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const node = nodeOfExec(ctx, req.params.id);
    const [rows, columns] = [queryDimension(req, 'h'), queryDimension(req, 'w')];
    await callNode(ctx, node.id, 'exec.resize', { execId: req.params.id, rows, columns }, signal);
    sendEmpty(res, 200);
  });

  router.get('/exec/:id/json', async (req, res) => {
    const { info } = await findExec(ctx, req.params.id, requestSignal(res, ctx.signal));
    sendJson(res, 200, encodeExec(info));
  });
  return router;
}

function newExecId(ctx: ApiContext, nodeId: string): string {
  const index = ctx.store.get('nodes', nodeId)?.index ?? 0;
  return index.toString(16).padStart(INDEX_DIGITS, '0') + newContainerId().slice(INDEX_DIGITS);
}

function nodeOfExec(ctx: ApiContext, execId: string): Node {
  const gone = new NotFoundError(`No such exec instance: ${execId}`);
  if (!/^[0-9a-f]{64}$/.test(execId)) throw gone;
  const index = Number.parseInt(execId.slice(0, INDEX_DIGITS), 16);
  for (const node of ctx.store.all('nodes').values()) if (node.index === index) return node;
  throw gone;
}

async function findExec(ctx: ApiContext, execId: string, signal: AbortSignal) {
  const node = nodeOfExec(ctx, execId);
  return { nodeId: node.id, info: await callNode(ctx, node.id, 'exec.inspect', { execId }, signal) };
}

function execSpec(execId: string, containerId: string, body: z.output<typeof createSchema>): ExecSpec {
  const args = body.Cmd ?? [];
  if (args.length === 0) throw new InvalidError('No exec command specified');
  return {
    execId,
    containerId,
    args,
    env: body.Env ?? [],
    user: body.User ?? '',
    workingDir: body.WorkingDir ?? '',
    tty: body.Tty ?? false,
    attachStdin: body.AttachStdin ?? false,
    attachStdout: body.AttachStdout ?? false,
    attachStderr: body.AttachStderr ?? false,
    ...(body.Privileged === true ? { privileged: true as const } : {}),
  };
}

function terminalSize(size: number[] | null | undefined): TerminalSize | undefined {
  const [rows, columns] = size ?? [];
  return rows && columns ? { rows, columns } : undefined;
}

/** Runs it with the client attached, until it ends. A client that leaves, leaves it running. */
async function attach(
  ctx: ApiContext,
  req: Request,
  res: Response,
  nodeId: string,
  spec: ExecSpec,
  params: { execId: string; size?: TerminalSize },
): Promise<void> {
  const { tty, attachStdin: stdin } = spec;
  refuseInputWithoutConnection(req, stdin);
  const channel = openChannel(req, res, streamContentType(res, tty));
  const how = { framed: !tty, stdin, leavesAtInputEnd: tty && stdin };
  await relay(
    channel,
    how,
    (input, signal) => ctx.gateway.duplex(nodeId, 'exec.attach', params, input, signal),
    ctx.signal,
  );
}

function encodeExec(info: ExecInfo): object {
  const { spec } = info;
  const [entrypoint = '', ...args] = spec.args;
  return {
    ID: spec.execId,
    ContainerID: spec.containerId,
    Running: info.state === 'running',
    ExitCode: info.exitCode ?? null,
    Pid: info.pid,
    OpenStdin: spec.attachStdin,
    OpenStdout: spec.attachStdout,
    OpenStderr: spec.attachStderr,
    CanRemove: info.state === 'exited',
    DetachKeys: '',
    ProcessConfig: {
      entrypoint,
      arguments: args,
      tty: spec.tty,
      privileged: spec.privileged === true,
      user: spec.user,
    },
  };
}
