/** Who came without being anybody: counted, logged, and a few lines a minute in the audit log, which strangers must not fill. */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../shared/lib/clock.ts';
import type { AuditLog } from '../../audit/audit-log.ts';
import type { Refusals } from '../../dispatcher/refusals.ts';

const LINES = 20;
const WINDOW_MS = 60_000;
const MAX_PATH = 200;

export class RefusalLog {
  readonly #refusals: Refusals;
  readonly #clock: Clock;
  readonly #audit: AuditLog | undefined;
  #sinceMs = -Infinity;
  #lines = 0;

  constructor(refusals: Refusals, clock: Clock, audit: AuditLog | undefined) {
    this.#refusals = refusals;
    this.#clock = clock;
    this.#audit = audit;
  }

  note(req: IncomingMessage, why: string): void {
    const from = req.socket.remoteAddress;
    this.#refusals.add('certificate', { from, why });
    const nowMs = this.#clock.now();
    if (nowMs - this.#sinceMs >= WINDOW_MS) {
      this.#sinceMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines > LINES) return;
    const method = req.method ?? '';
    const path = (req.url ?? '').replace(/\?.*$/s, '').slice(0, MAX_PATH);
    const time = new Date(nowMs).toISOString();
    this.#audit?.append({ time, by: 'nobody', from, method, path, outcome: 'refused', status: 401, why });
  }
}
