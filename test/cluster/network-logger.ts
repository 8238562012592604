import type { Logger } from '../../shared/model/options.ts';

/** Warnings and errors on stderr, for whoever reads a failed run. */
export function stderrLogger(name: string): Logger {
  const say =
    (level: string) =>
    (fields: object, message = ''): void => {
      process.stderr.write(`${name} ${level} ${message} ${JSON.stringify(fields)}\n`);
    };
  const logger: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: say('warn'),
    error: say('error'),
    child: () => logger,
  };
  return logger;
}
