/** /join-tokens: tokens for machines that shall join, besides the two that Docker knows. */
import { Router } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import type { JoinTokenRecord } from '../../../shared/model/index.ts';
import { stateOf } from '../../ca/tokens.ts';
import { timeText } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import { createJoinToken, revokeJoinToken } from '../ops/join-tokens.ts';
import { clusterOf } from '../ops/swarm.ts';

const MAX_SECONDS = 365 * 24 * 3600;

export const zNewJoinToken = z.object({
  Role: z.enum(['worker', 'manager']).nullish(),
  /** 0 or absent: until it is revoked. */
  ExpiresInSeconds: z.number().int().nonnegative().nullish(),
});

export function joinTokensRouter(ctx: ApiContext): Router {
  const router = Router();

  router.get('/join-tokens', (_req, res) => {
    const { createdAtMs, tokens = [] } = clusterOf(ctx);
    const standing = (['worker', 'manager'] as const).map((role) => ({
      ID: role,
      Role: role,
      CreatedAt: timeText(createdAtMs),
      State: 'active',
    }));
    sendJson(res, 200, [...standing, ...tokens.map((token) => encode(token, ctx.clock.now()))]);
  });

  router.post('/join-tokens', async (req, res) => {
    const body = parseStrict(zNewJoinToken, await readJson(req), 'join token');
    const seconds = body.ExpiresInSeconds ?? 0;
    if (seconds > MAX_SECONDS)
      throw new InvalidError(`join token: ExpiresInSeconds: ${seconds}: at most ${MAX_SECONDS} (a year)`);
    const wanted = {
      role: body.Role ?? 'worker',
      expiresInMs: seconds === 0 ? undefined : seconds * 1000,
    };
    const { record, token } = await createJoinToken(ctx, wanted, requestSignal(res, ctx.signal));
    sendJson(res, 201, { ...encode(record, ctx.clock.now()), Token: token });
  });

  router.delete('/join-tokens/:id', async (req, res) => {
    await revokeJoinToken(ctx, req.params.id, requestSignal(res, ctx.signal));
    sendEmpty(res, 200);
  });
  return router;
}

function encode(token: JoinTokenRecord, nowMs: number): object {
  const { id, role, createdAtMs, expiresAtMs, revokedAtMs } = token;
  return {
    ID: id,
    Role: role,
    CreatedAt: timeText(createdAtMs),
    ...(expiresAtMs === undefined ? {} : { ExpiresAt: timeText(expiresAtMs) }),
    ...(revokedAtMs === undefined ? {} : { RevokedAt: timeText(revokedAtMs) }),
    State: stateOf(token, nowMs),
  };
}
