/** What went wrong on some of several nodes. */
import { AppError, describeError, UnavailableError } from '../../../shared/errors/index.ts';

export interface NodeFailure {
  readonly node: string;
  readonly error: unknown;
}

/** One error for all: the nodes' own when it is the same everywhere, else one that says who failed by what. */
export function failureOf(failures: readonly NodeFailure[], nodeCount: number): Error | undefined {
  const [first] = failures;
  if (first === undefined) return undefined;
  const messages = new Set(failures.map(({ error }) => describeError(error)));
  const isSame = messages.size === 1 && failures.length === nodeCount;
  if (isSame && first.error instanceof AppError) return first.error;
  return new UnavailableError(
    failures.map(({ node, error }) => `node ${node}: ${describeError(error)}`).join('; '),
  );
}
