/** /ca: the cluster's certificate authority, the one that is etcd's alone, and their rotations. */
import { Router } from 'express';
import { z } from 'zod';
import { InvalidError, UnavailableError } from '../../../shared/errors/index.ts';
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
      ...encodeEtcd(ctx),
    });
  });
  router.post('/ca/rotate-etcd', async (_req, res) => {
    if (ctx.etcdRoots === undefined)
      throw new UnavailableError("this manager can not rotate etcd's authority");
    await ctx.etcdRoots.begin(requestSignal(res, ctx.signal));
    sendEmpty(res, 202);
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

function encodeEtcd({ etcdRoots, store }: ApiContext): object {
  if (etcdRoots?.shown === undefined) return {};
  const { progress } = etcdRoots;
  const changedAtMs = store.get('cluster', 'self')?.etcdRootChangedAtMs;
  return {
    Etcd: {
      Digest: `sha256:${etcdRoots.shown}`,
      ...(changedAtMs === undefined ? {} : { RotatedAt: timeText(changedAtMs) }),
      ...(progress === undefined
        ? {}
        : {
            Rotation: {
              Digest: `sha256:${progress.name}`,
              StartedAt: timeText(progress.startedAtMs),
              Waiting: progress.waiting.map(({ id, hostname, state }) => ({
                ID: id,
                Hostname: hostname,
                State: state,
              })),
            },
          }),
    },
  };
}
