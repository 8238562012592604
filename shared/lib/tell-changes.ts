/**
 * `tell` gets what `read` finds, at once unless that is undefined, and whenever it is another, until the signal aborts. A look that
 * fails is told to `failed`; there is another one after `everyMs`. Resolves after the first look.
 */
export async function tellChanges<T>(
  read: () => Promise<T>,
  tell: (found: T) => void,
  failed: (error: unknown) => void,
  signal: AbortSignal,
  everyMs: number,
): Promise<void> {
  let told = 'undefined';
  const look = async (): Promise<void> => {
    try {
      const found = await read();
      const text = JSON.stringify(found) ?? 'undefined';
      if (text === told) return;
      told = text;
      tell(found);
    } catch (error) {
      failed(error);
    }
  };
  await look();
  const timer = setInterval(() => void look(), everyMs).unref();
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}
