import { pino } from 'pino';
import type { Logger } from '../../shared/model/index.ts';
import { LogOutput } from './log-output.ts';

/** JSON lines on standard output; systemd, or `up`, keeps them. */
export function makeLogger(level: string, part: string): Logger {
  return pino({ level, base: { part } }, new LogOutput(1));
}
