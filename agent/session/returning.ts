/** How a node whose certificate is refused (it has expired, or the CA is another one now) comes back with a token, as itself. */
import { describeError } from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/index.ts';
import type { NodeIdentity } from './node-identity.ts';

/** Between attempts that failed: each is refused for a reason that somebody has to see. */
const REST_MS = 30_000;

export interface ReturningOptions {
  readonly identity: NodeIdentity;
  /** Absent: it can only say what is needed. */
  readonly join?: { readonly token: string; readonly managers: readonly string[] };
  readonly hostname: string;
  readonly logger: Logger;
}

export class Returning {
  readonly #options: ReturningOptions;
  #restsUntilMs = 0;

  constructor(options: ReturningOptions) {
    this.#options = options;
  }

  /** A manager has refused the certificate. Never rejects; the identity is another one when the node is back. */
  async refused(signal: AbortSignal): Promise<void> {
    if (performance.now() < this.#restsUntilMs) return;
    this.#restsUntilMs = performance.now() + REST_MS;
    const { identity, join, hostname, logger } = this.#options;
    const { nodeId } = identity;
    if (join === undefined) {
      logger.error(
        { nodeId },
        'to come back as itself this node needs a token: shoal agent --join TOKEN HOST:PORT',
      );
      return;
    }
    try {
      // Loaded for this only, like when it joined.
      const { join: joinCluster } = await import('./join.ts');
      const { key } = identity;
      const joined = await joinCluster({ ...join, hostname, returning: { nodeId, key } }, signal);
      await identity.change({ ca: joined.ca, cert: joined.cert });
      this.#restsUntilMs = 0;
      logger.info({ nodeId }, 'came back with a token');
    } catch (error) {
      if (!signal.aborted) logger.error({ nodeId, reason: describeError(error) }, 'could not come back');
    }
  }
}
