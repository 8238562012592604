/**
 * Which join tokens let a node in. A cluster has one for each role that goes on until it is rotated, and any number of others
 * that were made for a purpose, with an end or without. Of those others only digests are kept: they are shown once. Pure.
 */
import { timingSafeEqual } from 'node:crypto';
import { ConflictError } from '../../shared/errors/index.ts';
import type { Cluster, ClusterSecrets, JoinTokenRecord, NodeRole } from '../../shared/model/index.ts';
import { parseJoinToken } from '../../shared/wire/join-token.ts';
import { sha256 } from './authority.ts';

const DAY_MS = 24 * 3600 * 1000;
/** So long it can be said of a token that it has expired or was revoked. */
const REMEMBERED_MS = 30 * DAY_MS;
const MAX_TOKENS = 500;

/** Of the two that go on. */
type JoinSecrets = ClusterSecrets['joinSecrets'];

export type TokenVerdict =
  | { readonly granted: NodeRole; readonly id: string }
  | { readonly refused: string; readonly granted?: never };

export type TokenState = 'active' | 'expired' | 'revoked';

/** Whom a token lets in, or why nobody, in words for who holds it. Throws InvalidError when it is no token. */
export function judgeToken(
  cluster: Cluster,
  secrets: JoinSecrets,
  caDigest: string,
  token: string,
  nowMs: number,
): TokenVerdict {
  const parsed = parseJoinToken(token);
  const digest = sha256(Buffer.from(parsed.secret));
  const standing = (['manager', 'worker'] as const).filter((role) =>
    sameSecret(parsed.secret, secrets[role]),
  );
  const record = cluster.tokens?.find((one) => sameSecret(one.secretDigest, digest));
  if (parsed.caDigest !== caDigest)
    return { refused: 'the join token is of another cluster, or of a CA that this cluster has replaced' };
  const [role] = standing;
  if (role !== undefined) return { granted: role, id: role };
  if (record === undefined)
    return { refused: 'this cluster has no such join token: it is mistyped, or was revoked long ago' };
  const { id, role: granted } = record;
  switch (stateOf(record, nowMs)) {
    case 'active':
      return { granted, id };
    case 'expired':
      return {
        refused: `the join token has expired, at ${timeOf(record.expiresAtMs)}: make a new one (shoal token)`,
      };
    case 'revoked':
      return {
        refused: `the join token was revoked, at ${timeOf(record.revokedAtMs)}: make a new one (shoal token)`,
      };
  }
}

export function stateOf(record: JoinTokenRecord, nowMs: number): TokenState {
  if (record.revokedAtMs !== undefined) return 'revoked';
  return record.expiresAtMs !== undefined && nowMs >= record.expiresAtMs ? 'expired' : 'active';
}

/** The cluster's tokens with one more. Throws ConflictError for one that is active when there are too many of these. */
export function withToken(
  tokens: readonly JoinTokenRecord[] | undefined,
  record: JoinTokenRecord,
  nowMs: number,
): readonly JoinTokenRecord[] {
  const kept = remembered(tokens ?? [], nowMs);
  const active = kept.filter((one) => stateOf(one, nowMs) === 'active');
  if (active.length >= MAX_TOKENS && stateOf(record, nowMs) === 'active') {
    throw new ConflictError(
      `there are ${active.length} join tokens already: revoke some that are not needed any more`,
    );
  }
  // Those that let nobody in go first, the oldest of them.
  const over = Math.max(0, kept.length + 1 - MAX_TOKENS);
  const inactive = kept.filter((one) => stateOf(one, nowMs) !== 'active').slice(0, over);
  return [...kept.filter((one) => !inactive.includes(one)), record];
}

/** A standing token that was rotated is remembered as revoked. */
export function rotatedToken(role: NodeRole, secret: string, id: string, nowMs: number): JoinTokenRecord {
  return { id, role, secretDigest: sha256(Buffer.from(secret)), createdAtMs: nowMs, revokedAtMs: nowMs };
}

function remembered(tokens: readonly JoinTokenRecord[], nowMs: number): JoinTokenRecord[] {
  return tokens.filter((one) => {
    const endedAtMs = one.revokedAtMs ?? one.expiresAtMs ?? Infinity;
    return nowMs - endedAtMs < REMEMBERED_MS;
  });
}

function timeOf(ms: number | undefined): string {
  return new Date(ms ?? 0).toISOString();
}

/** Equal texts, in a time that does not tell how much of them is equal. */
export function sameSecret(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
