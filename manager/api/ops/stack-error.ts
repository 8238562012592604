import { AppError, type ErrorCode, InvalidError } from '../../../shared/errors/index.ts';
import type { Problem } from '../../stack/index.ts';

/** One thing said about a compose file, as the API answers it. */
export interface Finding {
  readonly message: string;
  readonly line: number;
  readonly column: number;
  readonly key: string;
  /** Which of the request's files. */
  readonly file?: string;
}

export function finding({ message, line, column, key, file }: Omit<Problem, 'severity'>): Finding {
  const text = key === '' ? message : `${key}: ${message}`;
  return { message: text, line, column, key, ...(file === undefined ? {} : { file }) };
}

/** The compose file can not be deployed; all the reasons, with their places. */
export class StackError extends InvalidError {
  readonly errors: readonly Finding[];

  constructor(stack: string, problems: readonly Omit<Problem, 'severity'>[]) {
    const errors = problems.map(finding);
    const lines = errors.map(({ file, line, column, message }) => {
      const place = `line ${line}, column ${column}: ${message}`;
      return file === undefined ? place : `${file}, ${place}`;
    });
    super(`stack ${stack} can not be deployed:\n${lines.join('\n')}`);
    this.errors = errors;
  }
}

/** A deployment that could not be finished: what it has done, so that whoever reads it knows where the stack stands. */
export class PartlyDeployedError extends AppError {
  override readonly name = 'PartlyDeployedError';
  readonly code: ErrorCode;

  constructor(stack: string, done: readonly string[], cause: AppError) {
    super(
      `stack ${stack} was deployed in part, and no revision was recorded: ${cause.message}\n` +
        `done so far: ${done.join(', ')}\n` +
        `deploy it again to go on, or deploy its last revision to go back (shoal revisions ${stack})`,
      { cause },
    );
    this.code = cause.code;
  }
}
