/** Runs the same command again as a process of its own session, and relays what it says until its cluster is up. */
import { spawn } from 'node:child_process';
import { z } from 'zod';
import { AppError } from '../../shared/errors/index.ts';

const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('say'), line: z.string() }),
  z.object({ kind: z.literal('ready') }),
  z.object({ kind: z.literal('failed'), text: z.string() }),
]);

/** The detached process ended; its own message. */
class DetachedError extends AppError {
  override readonly name = 'DetachedError';
  readonly code = 'unavailable';
}

/** Resolves once the cluster is up and leaves it running; an abort before that makes it remove itself. */
export async function detach(
  args: readonly string[],
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const child = spawn(process.execPath, [...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, SHOAL_DETACHED: '1' },
    cwd: '/',
  });
  signal.addEventListener('abort', () => child.connected && child.disconnect(), { once: true });
  await new Promise<void>((resolve, reject) => {
    let failure: string | undefined;
    child.on('message', (raw) => {
      const message = messageSchema.parse(raw);
      if (message.kind === 'say') say(message.line);
      if (message.kind === 'failed') failure = message.text;
      if (message.kind === 'ready') {
        child.disconnect();
        child.unref();
        resolve();
      }
    });
    child.on('error', reject);
    child.on('exit', (code, name) => {
      if (signal.aborted) return reject(signal.reason);
      reject(new DetachedError(failure ?? `it ended (${name ?? `exit code ${code}`})`));
    });
  });
}
