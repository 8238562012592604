/** What is asked of registries, by way of a node: they need be reachable from the nodes only. */
import { Router } from 'express';
import { z } from 'zod';
import { queryNode, workingNodes } from '../ask-nodes.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { callNode } from '../node-call.ts';
import { withAuth } from './image-transfers.ts';
import { refOf } from './images.ts';

/** Creating a service waits for it; without an answer the image is not pinned to a digest. */
const REGISTRY_TIMEOUT_MS = 20_000;

const zText = z.string().nullish();
export const zAuth = z.object({
  username: zText,
  password: zText,
  identitytoken: zText,
  registrytoken: zText,
  serveraddress: zText,
  auth: zText,
  /** Older clients send it; it has no meaning any more. */
  email: zText,
});

export function registryRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/distribution/*ref/json', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const [node] = await workingNodes(ctx, queryNode(ctx, req), signal);
    const params = { reference: refOf(req), ...withAuth(req) };
    const found = await callNode(
      ctx,
      node?.id ?? '',
      'image.describe-remote',
      params,
      signal,
      REGISTRY_TIMEOUT_MS,
    );
    sendJson(res, 200, {
      Descriptor: { mediaType: found.mediaType, digest: found.digest, size: found.sizeBytes },
      Platforms: found.platforms,
    });
  });

  router.post('/auth', async (req, res) => {
    const signal = requestSignal(res, ctx.signal);
    const { serveraddress, ...credentials } = parseStrict(zAuth, await readJson(req), 'credentials');
    const [node] = await workingNodes(ctx, queryNode(ctx, req), signal);
    const header = Buffer.from(JSON.stringify(withoutNulls(credentials))).toString('base64url');
    const params = { server: serveraddress ?? '', registryAuth: header };
    const answer = await callNode(ctx, node?.id ?? '', 'image.login', params, signal, REGISTRY_TIMEOUT_MS);
    sendJson(res, 200, { Status: 'Login Succeeded', IdentityToken: answer.identityToken ?? '' });
  });
  return router;
}

function withoutNulls(fields: Readonly<Record<string, string | null | undefined>>): object {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== null && value !== undefined),
  );
}
