/** Images on their way: from registries to all nodes, from a client to all nodes, and out of the cluster. */
import { Router } from 'express';
import type { Request, Response } from 'express';
import { InvalidError, NotFoundError, UnsupportedError } from '../../../shared/errors/index.ts';
import { nameMissing, queryNode, workingNodes } from '../ask-nodes.ts';
import { encodeLayerEvent } from '../codec/image-codec.ts';
import type { ApiContext } from '../context.ts';
import { imageEvent } from '../events/event.ts';
import { JsonStream } from '../http/json-stream.ts';
import { queryFlag, queryText, queryTexts } from '../http/query.ts';
import { requestSignal, writeAll } from '../http/respond.ts';
import { loadOnNodes } from '../ops/image-load.ts';
import { pullOnNodes } from '../ops/image-pull.ts';
import { imageEvents } from '../ops/image-events.ts';
import { findImage } from '../ops/images.ts';
import { refOf } from './images.ts';
import { registryAuth } from './services.ts';

export function imageTransfersRouter(ctx: ApiContext): Router {
  const router = Router();

  router.post('/images/create', async (req, res) => {
    const params = pullParams(req);
    const signal = requestSignal(res, ctx.signal);
    const nodes = await workingNodes(ctx, queryNode(ctx, req), signal);
    const lines = new JsonStream(res, signal);
    await lines.run(() => pullOnNodes(ctx, nodes, params, lines, signal));
  });

  router.post('/images/load', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const nodes = await workingNodes(ctx, queryNode(ctx, req), signal);
    const lines = new JsonStream(res, signal);
    const quiet = queryFlag(req, 'quiet');
    await lines.run(() => loadOnNodes(ctx, nodes, req, { lines, quiet }, signal));
  });

  router.post('/images/*ref/push', async (req, res) => {
    const tag = queryText(req, 'tag') ?? '';
    const name = refOf(req);
    if (tag === '') throw new UnsupportedError('push: not supported by Shoal: all tags (name one)');
    const signal = requestSignal(res, ctx.signal);
    const { reference, nodeIds } = await findImage(ctx, `${name}:${tag}`, queryNode(ctx, req), signal);
    const lines = new JsonStream(res, signal);
    const params = { reference, ...withAuth(req) };
    await lines.run(() => push(ctx, nodeIds[0] ?? '', params, lines, signal));
  });

  router.get('/images/get', async (req, res) => {
    await save(ctx, queryTexts(req, 'names'), req, res);
  });
  router.get('/images/*ref/get', async (req, res) => {
    await save(ctx, [refOf(req)], req, res);
  });
  return router;
}

/** X-Registry-Auth as it came, for a node to read. */
export function withAuth(req: Request): { registryAuth?: string } {
  const header = registryAuth(req);
  return header === undefined ? {} : { registryAuth: header };
}

function pullParams(req: Request) {
  const source = queryText(req, 'fromSrc') ?? '';
  if (source !== '')
    throw new UnsupportedError('importing a root file system (fromSrc): not supported by Shoal');
  const image = queryText(req, 'fromImage') ?? '';
  if (image === '') throw new InvalidError('fromImage: the name of an image is missing');
  const tag = queryText(req, 'tag') ?? '';
  const isWhole = /(:[^/]*|@.*)$/.test(image);
  if (tag === '' && !isWhole)
    throw new UnsupportedError('pulling all tags of a repository: not supported by Shoal (name a tag)');
  const reference = tag === '' ? image : `${image}${tag.includes(':') ? '@' : ':'}${tag}`;
  const platform = queryText(req, 'platform') ?? '';
  return { reference, ...withAuth(req), ...(platform === '' ? {} : { platform }) };
}

/** From one node that has it. */
async function push(
  ctx: ApiContext,
  nodeId: string,
  params: { readonly reference: string; readonly registryAuth?: string },
  lines: JsonStream,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of imageEvents(ctx.gateway.stream(nodeId, 'image.push', params, signal))) {
    switch (event.kind) {
      case 'begin':
        await lines.write({ status: `The push refers to repository [${event.repository}]` });
        break;
      case 'layer':
        await lines.write(encodeLayerEvent(event));
        break;
      case 'pushed': {
        ctx.events.emit(imageEvent('push', params.reference, params.reference));
        const { tag, digest, sizeBytes } = event;
        await lines.write({ status: `${tag}: digest: ${digest} size: ${sizeBytes}` });
        await lines.write({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: sizeBytes } });
        break;
      }
      default:
    }
  }
}

/** From one node that has all of them. Throws NotFoundError that says who has what. */
async function save(ctx: ApiContext, names: readonly string[], req: Request, res: Response): Promise<void> {
  if (names.length === 0) throw new InvalidError('names: the names of images are missing');
  const signal = requestSignal(res, ctx.signal);
  const nodes = queryNode(ctx, req);
  const images = await Promise.all(names.map((name) => findImage(ctx, name, nodes, signal)));
  const [first, ...others] = images;
  const nodeId = first?.nodeIds.find((id) => others.every((other) => other.nodeIds.includes(id)));
  if (nodeId === undefined) {
    const places = images.map(({ nodeIds }, i) => `${names[i]} is on ${nodeIds.join(', ')}`);
    throw new NotFoundError(`no node has all of these images: ${places.join('; ')}`);
  }
  nameMissing(res, first?.missing ?? []);
  const references = images.map(({ reference }) => reference);
  for await (const { data } of ctx.gateway.stream(nodeId, 'image.save', { references }, signal)) {
    if (!res.headersSent) res.setHeader('Content-Type', 'application/x-tar');
    await writeAll(res, data, signal);
  }
  for (const { info, reference } of images) ctx.events.emit(imageEvent('save', info.id, reference));
  res.end();
}
