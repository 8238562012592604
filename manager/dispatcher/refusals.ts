/** What was refused on the port for nodes: counted always, logged at most once a second for each reason. */
import type { Logger } from '../../shared/model/index.ts';

/**
 * full, address-full, address-rate: too many that have not shown who they are. tls: no TLS, or no handshake with it. slow: not
 * ready in time. http: no request, or one that is too long. join: a token or request that is refused; join-rate: too many of
 * these. certificate: a session without a good one. sockets: too many of one node. hello: a first frame that is not as it must be.
 * frame: a later one. address: another node's.
 */
export const REFUSED = [
  'full',
  'address-full',
  'address-rate',
  'tls',
  'slow',
  'http',
  'join',
  'join-rate',
  'certificate',
  'sockets',
  'hello',
  'frame',
  'address',
] as const;
export type Refused = (typeof REFUSED)[number];

const LOG_EVERY_MS = 1_000;

export class Refusals {
  readonly counts = Object.fromEntries(REFUSED.map((reason) => [reason, 0])) as Record<Refused, number>;
  readonly #logger: Logger;
  readonly #steadyMs: () => number;
  readonly #logged = new Map<Refused, { atMs: number; count: number }>();

  constructor(logger: Logger, steadyMs: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#steadyMs = steadyMs;
  }

  /** `fields` hold nothing secret, and no more of what was sent than its kind. */
  add(reason: Refused, fields: Readonly<Record<string, unknown>>): void {
    this.counts[reason] += 1;
    const last = this.#logged.get(reason);
    const nowMs = this.#steadyMs();
    if (last !== undefined && nowMs - last.atMs < LOG_EVERY_MS) return;
    const unlogged = this.counts[reason] - (last?.count ?? 0) - 1;
    this.#logged.set(reason, { atMs: nowMs, count: this.counts[reason] });
    this.#logger.warn({ reason, ...fields, ...(unlogged === 0 ? {} : { unlogged }) }, 'refused');
  }
}
