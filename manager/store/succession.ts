/**
 * Who leads may have died with the etcd that led. Then etcd, once it has a leader again, gives every lease its whole time anew,
 * since it does not know how much of it was over: the dead one would lead for 4.5 s in all. So for a while after etcd has another
 * leader those who are in line look themselves whether the one before them renews its lease, and end it when he does not. Should he
 * live after all, his key is gone, and etcd refuses what he writes: there are never two.
 */
import type { Etcd3 } from 'etcd3';
import { describeError } from '../../shared/errors/index.ts';
import { delay } from '../../shared/lib/abort.ts';
import type { Logger } from '../../shared/model/options.ts';
import type { Candidate } from './candidates.ts';
import { ELECTION_PREFIX } from './keys.ts';

const LOOK_MS = 200;
/** For so long after etcd has another leader a lease may end early. */
const WINDOW_MS = 5_000;

export interface SuccessionOptions {
  readonly client: Etcd3;
  readonly leader: () => Candidate | undefined;
  readonly logger: Logger;
}

/** When etcd's leader was last seen to be another one. Pure. */
export class LeaderChanges {
  #leader: string | undefined;
  #changedAtMs = -Infinity;

  /** `leader`: etcd's number of the member that leads; 0 when there is none. */
  seen(leader: string, nowMs: number): void {
    if (leader === '0') return;
    if (this.#leader !== undefined && this.#leader !== leader) this.#changedAtMs = nowMs;
    this.#leader = leader;
  }

  lately(nowMs: number): boolean {
    return nowMs - this.#changedAtMs < WINDOW_MS;
  }
}

/**
 * True when its holder has let more than a third of its time pass, which one that lives renews after a quarter (lease.ts). `left`: whole
 * seconds, as etcd says them, -1 when it is gone.
 */
export function isNotRenewed(left: number, granted: number): boolean {
  return left >= 0 && left < granted / 2;
}

/** Looks until the signal aborts. Never rejects. */
export async function watchSuccession(
  { client, leader, logger }: SuccessionOptions,
  signal: AbortSignal,
): Promise<void> {
  const changes = new LeaderChanges();
  while (!signal.aborted) {
    try {
      const { leader: member } = await client.maintenance.status();
      changes.seen(member, performance.now());
      const first = leader();
      if (first !== undefined && changes.lately(performance.now()) && !signal.aborted)
        await endUnlessRenewed(client, first, logger);
    } catch (error) {
      if (!signal.aborted) logger.debug({ error: describeError(error) }, 'the succession can not be seen to');
    }
    await delay(LOOK_MS, signal).catch(() => undefined);
  }
}

async function endUnlessRenewed(client: Etcd3, { key, id }: Candidate, logger: Logger): Promise<void> {
  const ID = BigInt(`0x${key.slice(ELECTION_PREFIX.length)}`).toString();
  const { TTL, grantedTTL } = await client.leaseClient.leaseTimeToLive({ ID, keys: false });
  if (!isNotRenewed(Number(TTL), Number(grantedTTL))) return;
  logger.warn(
    { id },
    'etcd has another leader, and who leads the managers is silent since: not waited for any longer',
  );
  await client.leaseClient.leaseRevoke({ ID });
}
