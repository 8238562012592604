import type { Logger } from '../../shared/model/options.ts';

/** Says nothing: for units whose messages are not what is tested. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
