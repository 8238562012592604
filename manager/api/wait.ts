import type { Store } from '../store/store.ts';

/** Resolves true as soon as the store satisfies the condition, false after `timeoutMs`; rejects when aborted. */
export function waitForStore(
  store: Store,
  condition: () => boolean,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise<boolean>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    if (condition()) return resolve(true);
    const undo = store.onChange(() => {
      if (condition()) settle(true);
    });
    const onAbort = (): void => settle(false);
    const timer = setTimeout(() => settle(condition()), timeoutMs);
    const settle = (met: boolean): void => {
      undo();
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      if (signal.aborted) reject(signal.reason);
      else resolve(met);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
