/** docker cp, docker export and docker diff: what a node's helper packs and unpacks, passed on as it comes. */
import { Router, type Request, type Response } from 'express';
import { InvalidError } from '../../../shared/errors/index.ts';
import { delay } from '../../../shared/lib/abort.ts';
import type { NodeStreams, StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { pathStatSchema } from '../../../shared/wire/node-methods/archive.ts';
import type { PlacedContainer } from '../codec/container-codec.ts';
import { encodePathStat } from '../codec/path-stat-codec.ts';
import type { ApiContext } from '../context.ts';
import { containerEvent } from '../events/container-event.ts';
import { queryFlag, queryText } from '../http/query.ts';
import { requestSignal, sendEmpty, sendJson, writeAll } from '../http/respond.ts';
import { callNode, requireConnected } from '../node-call.ts';
import { findContainer } from './containers.ts';

const STAT_HEADER = 'X-Docker-Container-Path-Stat';
const CALL_TIMEOUT_MS = 15_000;
/** How long an upload that failed is still read, so that its client comes to read why. */
const DRAIN_MS = 30_000;
const MAX_CHANGES_BYTES = 64 * 1024 * 1024;
const KINDS: Readonly<Record<string, number>> = { C: 0, A: 1, D: 2 };

export function archiveRouter(ctx: ApiContext): Router {
  const router = Router();

  router.head('/containers/:id/archive', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const path = pathOf(req);
    const { id, nodeId } = await findContainer(ctx, req.params.id, signal);
    const params = { containerId: id, path };
    const stat = await callNode(ctx, nodeId, 'container.archive.stat', params, signal, CALL_TIMEOUT_MS);
    res.setHeader(STAT_HEADER, encodePathStat(stat));
    sendEmpty(res, 200);
  });

  router.get('/containers/:id/archive', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const path = pathOf(req);
    const container = await findContainer(ctx, req.params.id, signal);
    const params = { containerId: container.id, path };
    const source = contentsOf(ctx, container, 'container.archive.get', params, signal);
    await pass(res, source, 'application/x-tar', signal);
    ctx.events.emit(containerEvent('archive-path', container, { path }));
  });

  router.put('/containers/:id/archive', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const path = pathOf(req);
    const container = await findContainer(ctx, req.params.id, signal);
    const params = {
      containerId: container.id,
      path,
      keepKinds: queryFlag(req, 'noOverwriteDirNonDir'),
      own: queryFlag(req, 'copyUIDGID'),
    };
    const { nodeId } = container;
    await requireConnected(ctx, nodeId, signal);
    try {
      const work = ctx.gateway.duplex(nodeId, 'container.archive.put', params, bodyOf(req), signal);
      for await (const chunk of work) void chunk;
    } catch (error) {
      await drain(req, signal);
      throw error;
    }
    ctx.events.emit(containerEvent('extract-to-dir', container, { path }));
    sendEmpty(res, 200);
  });

  router.get('/containers/:id/export', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const params = { containerId: container.id };
    const source = contentsOf(ctx, container, 'container.export', params, signal);
    await pass(res, source, 'application/octet-stream', signal);
    ctx.events.emit(containerEvent('export', container));
  });

  router.get('/containers/:id/changes', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const container = await findContainer(ctx, req.params.id, signal);
    const params = { containerId: container.id };
    const source = contentsOf(ctx, container, 'container.changes', params, signal);
    sendJson(res, 200, await readChanges(source));
  });
  return router;
}

function pathOf(req: Request): string {
  const path = queryText(req, 'path') ?? '';
  if (path === '') throw new InvalidError('bad parameter: path cannot be empty');
  if (path.includes('\0')) throw new InvalidError('bad parameter: path has a NUL byte');
  return path;
}

async function* contentsOf<M extends keyof NodeStreams>(
  ctx: ApiContext,
  { nodeId }: PlacedContainer,
  method: M,
  params: NodeStreams[M],
  signal: AbortSignal,
): AsyncIterable<StreamChunk> {
  await requireConnected(ctx, nodeId, signal);
  yield* ctx.gateway.stream(nodeId, method, params, signal);
}

/** The head goes out with the first chunk: until then, a failure has a status. */
async function pass(
  res: Response,
  source: AsyncIterable<StreamChunk>,
  contentType: string,
  signal: AbortSignal,
): Promise<void> {
  res.setHeader('Content-Type', contentType);
  try {
    for await (const { stream, data } of source) {
      if (stream === 2) res.setHeader(STAT_HEADER, statHeader(data));
      else await writeAll(res, data, signal);
    }
  } catch (error) {
    if (!res.headersSent) res.removeHeader(STAT_HEADER);
    throw error;
  }
  res.end();
}

function statHeader(data: Buffer): string {
  return encodePathStat(pathStatSchema.parse(JSON.parse(data.toString('utf8'))));
}

/** Leaving it does not cut the connection: an answer has to go out. */
async function* bodyOf(req: Request): AsyncGenerator<Buffer> {
  for await (const chunk of req.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
}

/** Go's client takes an answer that comes while it writes for a broken connection. */
async function drain(req: Request, signal: AbortSignal): Promise<void> {
  if (req.readableEnded || req.destroyed || signal.aborted) return;
  const over = new AbortController();
  const ended = new Promise<void>((resolve) => {
    req.once('end', resolve).once('close', resolve).once('error', resolve);
  });
  req.removeAllListeners('readable');
  // With such a listener it goes on flowing when whoever read it leaves only later.
  req.on('data', () => undefined).resume();
  const late = delay(DRAIN_MS, AbortSignal.any([signal, over.signal])).catch(() => undefined);
  await Promise.race([ended, late]);
  over.abort();
}

/** By path, as Docker sorts them. */
async function readChanges(
  source: AsyncIterable<StreamChunk>,
): Promise<{ readonly Path: string; readonly Kind: number }[]> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const { data } of source) {
    size += data.length;
    if (size > MAX_CHANGES_BYTES)
      throw new InvalidError('the container has changed too many files to list them');
    parts.push(data);
  }
  const lines = Buffer.concat(parts).toString('utf8').split('\0');
  return lines
    .filter((line) => line !== '')
    .map((line) => ({ Path: line.slice(2), Kind: KINDS[line.charAt(0)] ?? 0 }))
    .sort((a, b) => (a.Path < b.Path ? -1 : 1));
}
