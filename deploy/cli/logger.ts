import { type Logger, pino } from 'pino';

/** JSON lines on standard output; systemd, or `up`, keeps them. */
export function makeLogger(level: string, part: string): Logger {
  return pino({ level, base: { part } });
}
