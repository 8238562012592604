import type { PlacedContainer } from '../codec/container-codec.ts';
import type { ApiContext } from '../context.ts';
import { containerById, containerByName, type StoredContainer } from '../ops/container-reads.ts';
import { findContainer } from './containers.ts';

/** The single container that a reference means, or another's, as its node describes it. */
export async function findSingle(
  ctx: ApiContext,
  ref: string,
  signal: AbortSignal,
): Promise<StoredContainer | PlacedContainer> {
  const exact = containerById(ctx.store, ref) ?? containerByName(ctx.store, ref);
  if (exact !== undefined) return exact;
  const placed = await findContainer(ctx, ref, signal);
  return containerById(ctx.store, placed.id) ?? placed;
}
