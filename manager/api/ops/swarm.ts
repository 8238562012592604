/** Changes of the cluster record: settings and join tokens. */
import { InvalidError, OutOfSequenceError, UnavailableError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { Cluster } from '../../../shared/model/index.ts';
import { openSecrets, sealSecrets } from '../../ca/cluster.ts';
import { begunRotation, type RotationRequest } from '../../ca/rotation.ts';
import { rotatedToken, withToken } from '../../ca/tokens.ts';
import { newUnlockKey } from '../../vault/lock.ts';
import { StaleError } from '../../store/store.ts';
import type { SwarmSettings } from '../codec/swarm-codec.ts';
import type { ApiContext } from '../context.ts';

/** Throws UnavailableError before the first manager has made the record. */
export function clusterOf(ctx: ApiContext): Cluster {
  const cluster = ctx.store.get('cluster', 'self');
  if (cluster === undefined)
    throw new UnavailableError('the cluster is not set up yet: try again in a moment');
  return cluster;
}

export interface SwarmUpdate {
  readonly version: number;
  readonly settings: SwarmSettings;
  /** A rotation of the CA to begin. */
  readonly rotation?: RotationRequest | undefined;
  /** Tokens to make anew: the old ones let nobody in from then on. */
  readonly rotate: { readonly worker: boolean; readonly manager: boolean; readonly unlockKey: boolean };
}

/** Throws OutOfSequenceError when the cluster is not at `version` any more. */
export async function updateSwarm(ctx: ApiContext, update: SwarmUpdate, signal: AbortSignal): Promise<void> {
  const { store, clock, vault } = ctx;
  const cluster = clusterOf(ctx);
  if (store.version('cluster', 'self') !== update.version) throw new OutOfSequenceError();
  const { rotation } = update;
  const begun = rotation === undefined ? cluster : await begunRotation(cluster, vault, rotation, clock.now());
  const value: Cluster = {
    ...withLock(ctx, rotated(ctx, begun, update.rotate), update),
    ...update.settings,
    updatedAtMs: clock.now(),
  };
  try {
    await store.commit([{ table: 'cluster', key: 'self', value, expect: update.version }], { signal });
  } catch (cause) {
    if (cause instanceof StaleError) throw new OutOfSequenceError();
    throw cause;
  }
}

/** Begins it, or lets the one that goes on skip dead nodes. Throws ConflictError, InvalidError as begunRotation does. */
export async function rotateAuthority(
  ctx: ApiContext,
  request: RotationRequest,
  signal: AbortSignal,
): Promise<void> {
  const { vault, clock } = ctx;
  await changeCluster(ctx, (cluster) => begunRotation(cluster, vault, request, clock.now()), signal);
}

const ATTEMPTS = 5;

/** Writes what `to` makes of the record, as long as that is the newest; again when it is not. */
export async function changeCluster(
  ctx: ApiContext,
  to: (cluster: Cluster) => Cluster | Promise<Cluster>,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const expect = ctx.store.version('cluster', 'self');
    const before = clusterOf(ctx);
    const next = await to(before);
    if (next === before) return;
    const value = { ...next, updatedAtMs: ctx.clock.now() };
    try {
      await ctx.store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
      return;
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
    }
  }
  throw new UnavailableError('the cluster was changed by others again and again: try once more');
}

/** With an unlock key as long as managers are locked; the managers change their files when they see it. */
function withLock({ vault }: ApiContext, cluster: Cluster, { settings, rotate }: SwarmUpdate): Cluster {
  const { unlockKey, ...secrets } = openSecrets(vault, cluster);
  if (rotate.unlockKey && settings.autolock !== true)
    throw new InvalidError(
      'rotateManagerUnlockKey: managers are not locked (EncryptionConfig.AutoLockManagers)',
    );
  if (settings.autolock !== true)
    return unlockKey === undefined ? cluster : { ...cluster, secrets: sealSecrets(vault, secrets) };
  if (unlockKey !== undefined && !rotate.unlockKey) return cluster;
  const next = newUnlockKey().toString('base64');
  return { ...cluster, secrets: sealSecrets(vault, { ...secrets, unlockKey: next }) };
}

/** New secrets for the standing tokens of these roles; the old ones are remembered as revoked. */
function rotated({ vault, clock }: ApiContext, cluster: Cluster, rotate: SwarmUpdate['rotate']): Cluster {
  if (!rotate.worker && !rotate.manager) return cluster;
  const nowMs = clock.now();
  const secrets = openSecrets(vault, cluster);
  let { joinSecrets } = secrets;
  let { tokens } = cluster;
  for (const role of ['worker', 'manager'] as const) {
    if (!rotate[role]) continue;
    tokens = withToken(tokens, rotatedToken(role, joinSecrets[role], newId().slice(0, 12), nowMs), nowMs);
    joinSecrets = { ...joinSecrets, [role]: newId() };
  }
  const sealed = sealSecrets(vault, { ...secrets, joinSecrets });
  return { ...cluster, secrets: sealed, ...(tokens === undefined ? {} : { tokens }) };
}
