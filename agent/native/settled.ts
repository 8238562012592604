import { NativeError, type NativeFailure } from './errors.ts';

/** Of an export that answers 0, or a negative errno and why: resolves, or rejects with NativeError. `call` is its `async`. */
export function settled(
  call: (failure: NativeFailure, done: (error: unknown, code: number) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failure = {} as NativeFailure;
    call(failure, (error, code) => {
      if (error) reject(error);
      else if (code < 0) reject(new NativeError(-code, failure.step, failure.detail));
      else resolve();
    });
  });
}
