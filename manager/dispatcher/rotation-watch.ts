/** Ends a rotation of the CA once no node is left that needs the old root. Every manager looks; the first one to see it ends it. */
import type { Clock } from '../../shared/lib/clock.ts';
import type { Logger } from '../../shared/model/index.ts';
import { endedRotation, rotationProgress } from '../ca/rotation.ts';
import { StaleError, type Store } from '../store/store.ts';
import type { Vault } from '../vault/seal.ts';
import { LookLoop } from './look-loop.ts';

const LOOK_EVERY_MS = 10_000;

export interface RotationWatchOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Returns the end of it. */
export function watchRotation(options: RotationWatchOptions): () => void {
  const { store, logger } = options;
  const loop = new LookLoop(
    () => look(options),
    () => LOOK_EVERY_MS,
    logger,
  );
  const undo = store.onChange((changes) => {
    const concerns = changes.some(({ table }) => table === 'nodes' || table === 'cluster');
    if (concerns && store.get('cluster', 'self')?.rotation !== undefined) loop.soon();
  });
  loop.soon();
  return () => {
    undo();
    loop.close();
  };
}

async function look({ store, vault, clock, logger, signal }: RotationWatchOptions): Promise<void> {
  const cluster = store.get('cluster', 'self');
  const expect = store.version('cluster', 'self');
  if (cluster?.rotation === undefined) return;
  const progress = rotationProgress(cluster, store.all('nodes').values());
  if (progress === undefined || progress.waiting.length > 0) return;
  const value = endedRotation(cluster, vault, clock.now());
  try {
    await store.commit([{ table: 'cluster', key: 'self', value, expect }], { signal });
  } catch (error) {
    // Somebody else was at it: what is there now is looked at again.
    if (error instanceof StaleError) return;
    throw error;
  }
  const { moved, skipped } = progress;
  logger.info(
    { nodes: moved.length, skipped: skipped.map(({ id }) => id) },
    'the rotation of the CA is done',
  );
}
