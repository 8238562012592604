/** /ca: the cluster's certificate authority, and its rotation. */
import { Router } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { Node } from '../../../shared/model/index.ts';
import { DEFAULT_LIFE_MS, trustRoot } from '../../ca/authority.ts';
import { type RotationRequest, rotationProgress } from '../../ca/rotation.ts';
import { timeText } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { clusterOf, rotateAuthority } from '../ops/swarm.ts';

export const zRotateRequest = z.object({
  /** PEM; both or none. */
  CACert: z.string().nullish(),
  CAKey: z.string().nullish(),
  SkipDead: z.boolean().nullish(),
});

export function caRouter(ctx: ApiContext): Router {
  const router = Router();
  router.get('/ca', (_req, res) => {
    const cluster = clusterOf(ctx);
    sendJson(res, 200, {
      ...encodeRoot(cluster.caCertificatePem),
      NodeCertExpirySeconds: (cluster.certificateLifeMs ?? DEFAULT_LIFE_MS) / 1000,
      ...encodeRotation(ctx),
    });
  });
  router.post('/ca/rotate', async (req, res) => {
    const body = parseStrict(zRotateRequest, await readJson(req), 'rotation of the CA');
    const request = rotationRequest(body.CACert, body.CAKey, body.SkipDead ?? false);
    await rotateAuthority(ctx, request, requestSignal(res, ctx.signal));
    sendEmpty(res, 202);
  });
  return router;
}

function rotationRequest(
  caCertificatePem: string | null | undefined,
  caKeyPem: string | null | undefined,
  skipDead: boolean,
): RotationRequest {
  if (!caCertificatePem && !caKeyPem) return { skipDead };
  if (!caCertificatePem || !caKeyPem)
    throw new InvalidError('rotation of the CA: CACert and CAKey belong together: give both');
  return { root: { caCertificatePem, caKeyPem }, skipDead };
}

function encodeRoot(pem: string): object {
  const { digest, certificate } = trustRoot(pem);
  return {
    Certificate: pem,
    Digest: `sha256:${digest}`,
    Subject: certificate.subject.split('\n').join(', '),
    EndsAt: timeText(Date.parse(certificate.validTo)),
  };
}

function encodeRotation(ctx: ApiContext): object {
  const cluster = clusterOf(ctx);
  const progress = rotationProgress(cluster, ctx.store.all('nodes').values());
  if (cluster.rotation === undefined || progress === undefined) return {};
  const { caCertificatePem, startedAtMs, skipDead } = cluster.rotation;
  const encode = ({ id, description, status }: Node): object => ({
    ID: id,
    Hostname: description?.hostname ?? '',
    State: status,
  });
  return {
    Rotation: {
      ...encodeRoot(caCertificatePem),
      StartedAt: timeText(startedAtMs),
      SkipDead: skipDead,
      Moved: progress.moved.length,
      Waiting: progress.waiting.map(encode),
      Skipped: progress.skipped.map(encode),
    },
  };
}
