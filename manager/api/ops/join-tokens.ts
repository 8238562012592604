/** Join tokens that are made for a purpose: made, listed, revoked. */
import { InvalidError, NotFoundError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { JoinTokenRecord, NodeRole } from '../../../shared/model/index.ts';
import { formatJoinToken } from '../../../shared/wire/join-token.ts';
import { sha256 } from '../../ca/authority.ts';
import { authorityOf } from '../../ca/cluster.ts';
import { withToken } from '../../ca/tokens.ts';
import type { ApiContext } from '../context.ts';
import { changeCluster, clusterOf } from './swarm.ts';

export interface NewJoinToken {
  readonly role: NodeRole;
  /** Absent: it goes on until it is revoked. */
  readonly expiresInMs?: number | undefined;
}

/** The record, and the token, which is not to be seen again. */
export async function createJoinToken(
  ctx: ApiContext,
  { role, expiresInMs }: NewJoinToken,
  signal: AbortSignal,
): Promise<{ record: JoinTokenRecord; token: string }> {
  const secret = newId();
  const nowMs = ctx.clock.now();
  const record: JoinTokenRecord = {
    id: newId().slice(0, 12),
    role,
    secretDigest: sha256(Buffer.from(secret)),
    createdAtMs: nowMs,
    ...(expiresInMs === undefined ? {} : { expiresAtMs: nowMs + expiresInMs }),
  };
  await changeCluster(
    ctx,
    (cluster) => ({ ...cluster, tokens: withToken(cluster.tokens, record, nowMs) }),
    signal,
  );
  const { digest: caDigest } = await authorityOf(clusterOf(ctx), ctx.vault);
  return { record, token: formatJoinToken({ caDigest, secret }) };
}

/** It lets nobody in from then on. Throws NotFoundError; InvalidError for one that is rotated instead. */
export async function revokeJoinToken(ctx: ApiContext, id: string, signal: AbortSignal): Promise<void> {
  if (id === 'worker' || id === 'manager')
    throw new InvalidError(
      `the standing token of the role ${id} is rotated: docker swarm join-token --rotate ${id}`,
    );
  const nowMs = ctx.clock.now();
  await changeCluster(
    ctx,
    (cluster) => {
      const found = cluster.tokens?.find((one) => one.id === id);
      if (found === undefined) throw new NotFoundError(`there is no join token ${id}`);
      if (found.revokedAtMs !== undefined) return cluster;
      const revoked = { ...found, revokedAtMs: nowMs };
      return { ...cluster, tokens: cluster.tokens?.map((one) => (one === found ? revoked : one)) ?? [] };
    },
    signal,
  );
}
