/** Error classes with a literal code; one table gives the HTTP status. */

export type ErrorCode =
  | 'invalid'
  | 'not-found'
  | 'conflict'
  | 'out-of-sequence'
  | 'unsupported'
  | 'forbidden'
  | 'unauthorized'
  | 'unavailable'
  | 'internal';

export const HTTP_STATUS = {
  invalid: 400,
  'not-found': 404,
  conflict: 409,
  /** Swarm answers 500 with this text, and clients look for the text. */
  'out-of-sequence': 500,
  unsupported: 501,
  forbidden: 403,
  unauthorized: 401,
  unavailable: 503,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

export abstract class AppError extends Error {
  abstract readonly code: ErrorCode;
  /** Worth trying again without a change. */
  readonly temporary: boolean = false;
}

/** The caller's input is wrong. The message names the field and what is allowed. */
export class InvalidError extends AppError {
  override readonly name = 'InvalidError';
  readonly code = 'invalid';
}

export class NotFoundError extends AppError {
  override readonly name = 'NotFoundError';
  readonly code = 'not-found';
}

/** A name is taken, or the object is in use. */
export class ConflictError extends AppError {
  override readonly name = 'ConflictError';
  readonly code = 'conflict';
}

/** The version named in an update is not the current one. */
export class OutOfSequenceError extends AppError {
  override readonly name = 'OutOfSequenceError';
  readonly code = 'out-of-sequence';
  constructor() {
    super('rpc error: code = Unknown desc = update out of sequence');
  }
}

export class UnsupportedError extends AppError {
  override readonly name = 'UnsupportedError';
  readonly code = 'unsupported';
}

export class ForbiddenError extends AppError {
  override readonly name = 'ForbiddenError';
  readonly code = 'forbidden';
}

export class UnauthorizedError extends AppError {
  override readonly name = 'UnauthorizedError';
  readonly code = 'unauthorized';
}

/** etcd, a node or the network can not be reached just now. */
export class UnavailableError extends AppError {
  override readonly name = 'UnavailableError';
  readonly code = 'unavailable';
  override readonly temporary = true;
}

/** The text of an error for people, with its causes. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `: ${describeError(error.cause)}`;
  // Some say themselves what their cause is.
  return cause !== '' && `: ${error.message}`.endsWith(cause) ? error.message : `${error.message}${cause}`;
}
