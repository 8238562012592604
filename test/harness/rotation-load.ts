/** What a test looks at while the authority of etcd is replaced. */
import { get as getSecurely } from 'node:https';
import type { ApiClient } from '../../deploy/cli/client.ts';
import { delay } from '../../shared/lib/abort.ts';

const { signal } = new AbortController();

/** What the port of an etcd for other etcds answers to this certificate: a status, or why there is none. */
export function peerPort(
  host: string,
  port: number,
  { cert, key }: { readonly cert: string; readonly key: string },
): Promise<string> {
  const options = { host, port, path: '/members', cert, key, rejectUnauthorized: false, agent: false };
  return new Promise((resolve) => {
    const asked = getSecurely(options, (response) => {
      response.resume();
      resolve(`${response.statusCode}`);
    });
    asked.on('error', (error) => resolve(`refused: ${error.message}`));
  });
}

/** Makes configs one after the other; returns those errors that lasted for ten seconds. */
export async function writeAll(client: ApiClient, over: AbortSignal): Promise<string[]> {
  const lasting: string[] = [];
  for (let number = 0; !over.aborted; number += 1) {
    const text = JSON.stringify({ Name: `rotating-${number}`, Data: '' });
    const write = (): Promise<unknown> =>
      client.call('POST', '/configs/create', { type: 'application/json', text }, signal);
    const end = performance.now() + 10_000;
    for (;;) {
      const failure = await write().then(
        () => undefined,
        (error: unknown) => String(error),
      );
      if (failure === undefined || /already exists|in use/.test(failure)) break;
      if (performance.now() > end) {
        lasting.push(failure);
        break;
      }
      await delay(200, signal);
    }
    await delay(300, signal);
  }
  return lasting;
}
