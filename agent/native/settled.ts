import { NativeError, type NativeFailure } from './errors.ts';

type Call = (failure: NativeFailure, done: (error: unknown, code: number) => void) => void;

/** Of an export that answers a number, or a negative errno and why: the number, or rejects with NativeError. `call` is its `async`. */
export function answered(call: Call): Promise<number> {
  return new Promise((resolve, reject) => {
    const failure = {} as NativeFailure;
    call(failure, (error, code) => {
      if (error) reject(error);
      else if (code < 0) reject(new NativeError(-code, failure.step, failure.detail));
      else resolve(code);
    });
  });
}

/** Of one that answers 0. */
export async function settled(call: Call): Promise<void> {
  await answered(call);
}
