/** Changes of the cluster record: settings and join tokens. */
import { OutOfSequenceError, UnavailableError } from '../../../shared/errors/index.ts';
import { newId } from '../../../shared/lib/ids.ts';
import type { Cluster } from '../../../shared/model/index.ts';
import { openSecrets, sealSecrets } from '../../ca/cluster.ts';
import { rotatedToken, withToken } from '../../ca/tokens.ts';
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
  /** Tokens to make anew: the old ones let nobody in from then on. */
  readonly rotate: { readonly worker: boolean; readonly manager: boolean };
}

/** Throws OutOfSequenceError when the cluster is not at `version` any more. */
export async function updateSwarm(ctx: ApiContext, update: SwarmUpdate, signal: AbortSignal): Promise<void> {
  const { store, clock } = ctx;
  const cluster = clusterOf(ctx);
  if (store.version('cluster', 'self') !== update.version) throw new OutOfSequenceError();
  const value: Cluster = {
    ...rotated(ctx, cluster, update.rotate),
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
