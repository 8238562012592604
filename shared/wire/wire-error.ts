/** Errors across a session: a code and a text go over, the class of that code comes out. */
import {
  AppError,
  ConflictError,
  describeError,
  ForbiddenError,
  InvalidError,
  NotFoundError,
  OutOfSequenceError,
  UnauthorizedError,
  UnavailableError,
  UnsupportedError,
} from '../errors/index.ts';
import { assertNever } from '../lib/assert-never.ts';
import type { WireError } from './frames.ts';

/** The other side failed in a way that has no class of its own. */
export class RemoteError extends AppError {
  override readonly name = 'RemoteError';
  readonly code = 'internal';
}

export function toWireError(error: unknown): WireError {
  return { code: error instanceof AppError ? error.code : 'internal', message: describeError(error) };
}

export function fromWireError(error: WireError): AppError {
  switch (error.code) {
    case 'invalid':
      return new InvalidError(error.message);
    case 'not-found':
      return new NotFoundError(error.message);
    case 'conflict':
      return new ConflictError(error.message);
    case 'out-of-sequence':
      return new OutOfSequenceError();
    case 'unsupported':
      return new UnsupportedError(error.message);
    case 'forbidden':
      return new ForbiddenError(error.message);
    case 'unauthorized':
      return new UnauthorizedError(error.message);
    case 'unavailable':
      return new UnavailableError(error.message);
    case 'internal':
      return new RemoteError(error.message);
    default:
      return assertNever(error.code);
  }
}
