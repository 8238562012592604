/** How a command ends when it can not do what was asked: a message for people, an exit code, no stack trace. */
import { AppError, describeError } from '../../shared/errors/index.ts';
import { isAbort } from '../../shared/lib/abort.ts';

export const EXIT = {
  failed: 1,
  /** The command line itself is wrong (commander's own too). */
  usage: 2,
  /** Interrupted: 128 + SIGINT. */
  interrupted: 130,
} as const;

/** What to print and which code to end with. `debug` adds the stack. */
export function explainFailure(error: unknown, debug: boolean): { text: string; code: number } {
  if (isAbort(error)) return { text: '', code: EXIT.interrupted };
  const text = `shoal: ${describeError(error)}`;
  const stack = debug && error instanceof Error ? `\n${error.stack}` : '';
  const hint = error instanceof AppError || debug ? '' : '\n(set SHOAL_DEBUG=1 for where this happened)';
  return { text: text + stack + hint, code: EXIT.failed };
}

/** Aborts on SIGINT and SIGTERM. */
export function signalOfInterrupts(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => controller.abort());
  }
  return controller.signal;
}
