/** Who came without being anybody. So many lines a minute at most: strangers must not fill a log. */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { AuditLog } from '../../audit/audit-log.ts';
import type { Logger } from '../../../shared/model/options.ts';

const LINES = 20;
const WINDOW_MS = 60_000;

export class RefusalLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #audit: AuditLog | undefined;
  #sinceMs = -Infinity;
  #count = 0;

  constructor(logger: Logger, clock: Clock, audit?: AuditLog) {
    this.#logger = logger;
    this.#audit = audit;
    this.#clock = clock;
  }

  note(req: IncomingMessage, why: string): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#sinceMs >= WINDOW_MS) {
      const untold = this.#count - LINES;
      if (untold > 0) this.#logger.warn({ untold }, 'more requests of nobody were refused');
      this.#sinceMs = nowMs;
      this.#count = 0;
    }
    this.#count += 1;
    if (this.#count > LINES) return;
    const from = req.socket.remoteAddress;
    const method = req.method ?? '';
    this.#logger.warn({ from, method, why }, 'a request of nobody was refused');
    const path = (req.url ?? '').replace(/\?.*$/s, '').slice(0, 200);
    const time = new Date(nowMs).toISOString();
    this.#audit?.append({ time, by: 'nobody', from, method, path, outcome: 'refused', status: 401, why });
  }
}
