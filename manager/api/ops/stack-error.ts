import { InvalidError } from '../../../shared/errors/index.ts';
import type { Problem } from '../../stack/index.ts';

/** One thing said about a compose file, as the API answers it. */
export interface Finding {
  readonly message: string;
  readonly line: number;
  readonly column: number;
  readonly key: string;
}

export function finding({ message, line, column, key }: Omit<Problem, 'severity'>): Finding {
  return { message: key === '' ? message : `${key}: ${message}`, line, column, key };
}

/** The compose file can not be deployed; all the reasons, with their places. */
export class StackError extends InvalidError {
  readonly errors: readonly Finding[];

  constructor(stack: string, problems: readonly Omit<Problem, 'severity'>[]) {
    const errors = problems.map(finding);
    const lines = errors.map(({ line, column, message }) => `line ${line}, column ${column}: ${message}`);
    super(`stack ${stack} can not be deployed:\n${lines.join('\n')}`);
    this.errors = errors;
  }
}
