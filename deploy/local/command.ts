/** Runs the system's programs: found in the usual places, their complaint in the error. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../shared/errors/index.ts';

/** Not from PATH first: npm puts node_modules/.bin there, and it holds a program named nft that is not netfilter's. */
const PLACES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** A program of the system that failed. */
export class CommandError extends AppError {
  override readonly name = 'CommandError';
  readonly code = 'internal';
  readonly exitCode: number;
  constructor(message: string, exitCode: number, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** Path of a program, or undefined. A path is taken as it is. */
export function findProgram(program: string): string | undefined {
  if (program.includes('/')) return existsSync(program) ? program : undefined;
  return PLACES.map((place) => path.join(place, program)).find((candidate) => existsSync(candidate));
}

export interface RunOptions {
  /** Text for its standard input. */
  readonly input?: string;
  /** Runs it inside this network namespace (a path). */
  readonly netns?: string | undefined;
}

/** Resolves with its standard output; rejects with CommandError carrying what it said on standard error. */
export function run(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
  options: RunOptions = {},
): Promise<string> {
  const file = findProgram(program);
  if (file === undefined) return Promise.reject(new CommandError(`${program}: not installed`, 127));
  const [first, rest] =
    options.netns === undefined
      ? [file, args]
      : [findProgram('nsenter') ?? 'nsenter', [`--net=${options.netns}`, '--', file, ...args]];
  return new Promise((resolve, reject) => {
    const child = execFile(
      first,
      [...rest],
      { signal, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        if (error.name === 'AbortError') return reject(error);
        const said = stderr.trim() || error.message;
        const code = typeof error.code === 'number' ? error.code : 1;
        reject(new CommandError(`${program} ${args.join(' ')}: ${said}`, code));
      },
    );
    child.stdin?.on('error', () => undefined); // a program that ends without reading its input
    child.stdin?.end(options.input ?? '');
  });
}

/** The same where a failure is an answer: undefined. */
export async function tryRun(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
  options: RunOptions = {},
): Promise<string | undefined> {
  try {
    return await run(program, args, signal, options);
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
