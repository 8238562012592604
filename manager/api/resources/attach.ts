/** The standard streams of containers' own processes, over the nodes' sessions. */
import { Router } from 'express';
import type { Request, Response } from 'express';
import { WebSocketServer } from 'ws';
import { ConflictError, InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
import type { AttachParams, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { containerEvent } from '../events/container-event.ts';
import { type Attached, type OpenOutput, refuseInputWithoutConnection, relay } from '../http/attached.ts';
import { type Channel, openChannel, webSocketChannel } from '../http/channel.ts';
import { parseDetachKeys } from '../http/detach-keys.ts';
import { queryDimension, queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendEmpty } from '../http/respond.ts';
import { upgradeSocket } from '../http/upgrade.ts';
import { streamContentType } from '../logs/respond.ts';
import { callNode, NODE_TIMEOUT_MS } from '../node-call.ts';
import { findContainer } from './containers.ts';

export function attachRouter(ctx: ApiContext): Router {
  const router = Router();
  const webSockets = new WebSocketServer({ noServer: true });

  router.post('/containers/:id/attach', async (req, res) => {
    const { container, tty, params, detachKeys } = await attachRequest(ctx, req, res);
    refuseInputWithoutConnection(req, params.stdin);
    const how = attachedBy(params, { framed: !tty, detachKeys: tty ? detachKeys : undefined });
    await serve(ctx, res, { container, params, how }, () =>
      openChannel(req, res, streamContentType(res, tty)),
    );
  });

  router.get('/containers/:id/attach/ws', async (req, res) => {
    const { container, tty, params, detachKeys } = await attachRequest(ctx, req, res);
    if (upgradeSocket(req) === undefined) throw new InvalidError('a WebSocket handshake is expected');
    const how = attachedBy(params, { framed: false, detachKeys: tty ? detachKeys : undefined });
    await serve(ctx, res, { container, params, how }, () => webSocketChannel(webSockets, req, res));
  });

  router.post('/containers/:id/resize', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const [rows, columns] = [queryDimension(req, 'h'), queryDimension(req, 'w')];
    const container = await findContainer(ctx, req.params.id, signal);
    const { id: containerId, nodeId } = container;
    await callNode(ctx, nodeId, 'container.resize', { containerId, rows, columns }, signal);
    const size = { height: String(rows), width: String(columns) };
    ctx.events.emit(containerEvent('resize', container, size));
    sendEmpty(res, 200);
  });
  return router;
}

interface Wish {
  readonly container: PlacedContainer;
  readonly params: AttachParams;
  readonly how: Attached;
}

async function attachRequest(ctx: ApiContext, req: Request, res: Response) {
  const detachKeys = parseDetachKeys(queryText(req, 'detachKeys') ?? '');
  const id = String(req.params['id']);
  const container = await findContainer(ctx, id, requestSignal(res, ctx.signal));
  if (container.state === 'paused')
    throw new ConflictError(`Container ${id} is paused, unpause the container before attach`);
  return { container, tty: container.tty === true, params: attachParams(req, container.id), detachKeys };
}

function attachParams(req: Request, containerId: string): AttachParams {
  const [stdin, stdout, stderr] = ['stdin', 'stdout', 'stderr'].map((name) => queryFlag(req, name));
  return {
    containerId,
    stdin: stdin ?? false,
    stdout: stdout ?? false,
    stderr: stderr ?? false,
    logs: queryFlag(req, 'logs'),
    stream: queryFlag(req, 'stream'),
  };
}

/** The node knows when the end of the input is the client's leave. */
function attachedBy(
  { stdin, stream }: AttachParams,
  { framed, detachKeys }: { framed: boolean; detachKeys: Buffer | undefined },
): Attached {
  const wanted = stdin && stream;
  return {
    framed,
    stdin: wanted,
    leavesAtInputEnd: false,
    ...(detachKeys === undefined || !wanted ? {} : { detachKeys }),
  };
}

/** The client hears that it is attached only when the node has said so: what it starts then, it sees from the first byte. */
async function serve(
  ctx: ApiContext,
  res: Response,
  { container, params, how }: Wish,
  accept: () => Channel,
): Promise<void> {
  const over = new AbortController();
  const leave = (): void => over.abort();
  // Nothing is read from the client yet, so it may have gone unnoticed.
  const late = AbortSignal.timeout(NODE_TIMEOUT_MS);
  const early = AbortSignal.any([requestSignal(res, ctx.signal), late]);
  early.addEventListener('abort', leave, { once: true });
  const input = new LateInput();
  const source = ctx.gateway.duplex(container.nodeId, 'container.attach', params, input.read(), over.signal);
  const chunks = source[Symbol.asyncIterator]();
  try {
    await answered(chunks, container.nodeId, late);
    early.removeEventListener('abort', leave);
    ctx.events.emit(containerEvent('attach', container));
    const open: OpenOutput = (typed, signal) => {
      signal.addEventListener('abort', leave, { once: true });
      if (signal.aborted) leave();
      input.give(typed);
      return rest(chunks);
    };
    await relay(accept(), how, open, ctx.signal);
  } finally {
    over.abort();
    input.give(none());
  }
}

async function answered(
  chunks: AsyncIterator<StreamChunk>,
  nodeId: string,
  late: AbortSignal,
): Promise<void> {
  try {
    await chunks.next();
  } catch (error) {
    if (!late.aborted) throw error;
    throw new UnavailableError(`node ${nodeId} did not answer within ${NODE_TIMEOUT_MS} ms`, {
      cause: error,
    });
  }
}

/** An input that is known only later. */
class LateInput {
  give: (input: AsyncIterable<Buffer>) => void = () => undefined;
  readonly #given = new Promise<AsyncIterable<Buffer>>((resolve) => {
    this.give = resolve;
  });

  async *read(): AsyncGenerator<Buffer> {
    yield* await this.#given;
  }
}

async function* none(): AsyncGenerator<Buffer> {
  yield* [];
}

async function* rest(chunks: AsyncIterator<StreamChunk>): AsyncGenerator<StreamChunk> {
  try {
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}
