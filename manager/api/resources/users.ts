/** /users: who may use the API over TCP. */
import { type Request, Router } from 'express';
import { z } from 'zod';
import { InvalidError } from '../../../shared/errors/index.ts';
import { type User, USER_ROLES, type UserCredential } from '../../../shared/model/index.ts';
import { timeText } from '../codec/common.ts';
import type { ApiContext } from '../context.ts';
import { readJson } from '../http/body.ts';
import { requestSignal, sendEmpty, sendJson } from '../http/respond.ts';
import { parseStrict } from '../http/unsupported.ts';
import {
  changeRights,
  createUser,
  findUser,
  issueCertificate,
  issueToken,
  removeUser,
  revokeCredential,
  type UserRights,
} from '../ops/users.ts';

const DAY_SECONDS = 24 * 3600;
const MAX_SECONDS = 10 * 365 * DAY_SECONDS;
const DEFAULT_SECONDS = 365 * DAY_SECONDS;

const zSeconds = z.number().int().nonnegative().nullish();

export const zRights = z.object({
  Role: z.enum(USER_ROLES),
  /** Absent: the whole cluster. */
  Stacks: z.array(z.string()).nullish(),
});
export const zNewUser = zRights.extend({ Name: z.string() });
export const zCertificateRequest = z.object({
  /** PKCS#10, PEM, with a P-256 key. */
  Request: z.string(),
  ExpiresInSeconds: zSeconds,
  /** Certificates and tokens of before go on. */
  Keep: z.boolean().nullish(),
});
/** 0 or absent: until it is revoked. */
export const zNewToken = z.object({ ExpiresInSeconds: zSeconds });

export function usersRouter(ctx: ApiContext): Router {
  const router = Router();
  const signalOf = (res: Parameters<typeof requestSignal>[0]): AbortSignal => requestSignal(res, ctx.signal);

  router.get('/users', (_req, res) => {
    const users = [...ctx.store.all('users').values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    sendJson(
      res,
      200,
      users.map((user) => encode(ctx, user)),
    );
  });
  router.post('/users', async (req, res) => {
    const { Name, ...rights } = parseStrict(zNewUser, await readJson(req), 'user');
    sendJson(res, 201, encode(ctx, await createUser(ctx, Name, rightsOf(rights), signalOf(res))));
  });
  router.get('/users/:name', (req, res) => sendJson(res, 200, encode(ctx, findUser(ctx, nameOf(req)))));
  router.post('/users/:name/update', async (req, res) => {
    const rights = rightsOf(parseStrict(zRights, await readJson(req), 'user'));
    sendJson(res, 200, encode(ctx, await changeRights(ctx, nameOf(req), rights, signalOf(res))));
  });
  router.post('/users/:name/certificate', async (req, res) => {
    const body = parseStrict(zCertificateRequest, await readJson(req), 'certificate request');
    const lifeMs = secondsOf(body.ExpiresInSeconds || DEFAULT_SECONDS) * 1000;
    const asked = { request: body.Request, lifeMs, keep: body.Keep === true };
    const { user, certificate, ca } = await issueCertificate(ctx, nameOf(req), asked, signalOf(res));
    sendJson(res, 201, { ...encode(ctx, user), Certificate: certificate, CA: ca });
  });
  router.post('/users/:name/tokens', async (req, res) => {
    const { ExpiresInSeconds } = parseStrict(zNewToken, await readJson(req), 'token');
    const lifeMs = ExpiresInSeconds ? secondsOf(ExpiresInSeconds) * 1000 : undefined;
    const { credential, token, ca } = await issueToken(ctx, nameOf(req), lifeMs, signalOf(res));
    sendJson(res, 201, { ...encodeCredential(ctx, credential), Token: token, CA: ca });
  });
  router.delete('/users/:name/credentials/:id', async (req, res) => {
    await revokeCredential(ctx, nameOf(req), req.params.id, signalOf(res));
    sendEmpty(res, 204);
  });
  router.delete('/users/:name', async (req, res) => {
    await removeUser(ctx, nameOf(req), signalOf(res));
    sendEmpty(res, 204);
  });
  return router;
}

function nameOf(req: Request): string {
  return String(req.params['name']);
}

function rightsOf({ Role, Stacks }: z.output<typeof zRights>): UserRights {
  return { role: Role, stacks: Stacks ?? undefined };
}

function secondsOf(seconds: number): number {
  if (seconds > MAX_SECONDS)
    throw new InvalidError(`ExpiresInSeconds: ${seconds}: at most ${MAX_SECONDS} (ten years)`);
  return seconds;
}

function encode(ctx: ApiContext, user: User): object {
  return {
    Name: user.name,
    Role: user.role,
    Stacks: user.stacks ?? null,
    CreatedAt: timeText(user.createdAtMs),
    UpdatedAt: timeText(user.updatedAtMs),
    Certificates: user.certificates.map((one) => encodeCredential(ctx, one)),
    Tokens: user.tokens.map((one) => encodeCredential(ctx, one)),
  };
}

/** Never the digest: nobody needs it. */
function encodeCredential(ctx: ApiContext, { id, createdAtMs, expiresAtMs }: UserCredential): object {
  return {
    ID: id,
    CreatedAt: timeText(createdAtMs),
    ...(expiresAtMs === undefined ? {} : { ExpiresAt: timeText(expiresAtMs) }),
    State: expiresAtMs !== undefined && ctx.clock.now() >= expiresAtMs ? 'expired' : 'active',
  };
}
