/** Real clients that change and read something all the time. */
import type { ApiClient } from '../../deploy/cli/client.ts';
import { delay } from '../../shared/lib/abort.ts';

const { signal } = new AbortController();

/** Makes configs one after the other, by whichever manager answers; retries once, at another one. Resolves with what failed. */
export async function makeConfigs(
  clients: readonly ApiClient[],
  name: string,
  until: AbortSignal,
): Promise<string[]> {
  const failed: string[] = [];
  for (let count = 0; !until.aborted; count += 1) {
    const text = JSON.stringify({ Name: `${name}-${count}`, Data: 'eA==' });
    const ask = async (method: string, target: string, body?: string): Promise<void> => {
      const json = body === undefined ? undefined : ({ type: 'application/json', text: body } as const);
      const at = (attempt: number) => clients[(count + attempt) % clients.length];
      const once = (attempt: number) => at(attempt)?.call(method, target, json, signal);
      await once(0)
        ?.catch(() => once(1))
        .catch((error: unknown) => failed.push(`${method} ${String(error)}`));
    };
    await ask('POST', '/configs/create', text);
    await ask('GET', '/services');
    await delay(10, signal);
  }
  return failed;
}
