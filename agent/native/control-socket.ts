import { setMaxListeners } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const SOCKET = 'monitor.sock';

/** How long a monitor that has more callers than its backlog holds is called again. */
const BUSY_MS = 10_000;
const AGAIN_MS = 20;

/**
 * Sends one line to a container's monitor and gives its one line of answer; undefined when there is no monitor, or when
 * it ended before it answered. The socket is addressed through /proc/self/fd, as its path may exceed the 108 bytes of a
 * unix address.
 */
export function askMonitor(runDir: string, line: string, signal?: AbortSignal): Promise<string | undefined> {
  return whileBusy(() => askOnce(runDir, line, signal), signal);
}

/** A connection of one's own; undefined when there is no monitor. However it ends later, it is only an end. */
export function connectMonitor(runDir: string): Promise<Socket | undefined> {
  return whileBusy(
    () =>
      new Promise((resolve, reject) => {
        const socket = openSocket(runDir, true);
        if (socket === undefined) resolve(undefined);
        socket?.once('connect', () => resolve(socket));
        socket?.on('error', (error) => (isGone(error) ? resolve(undefined) : reject(error)));
      }),
  );
}

/** A full backlog: a connect that does not wait is told so (EAGAIN), and nothing was sent. */
async function whileBusy<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const start = performance.now();
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const busy = (error as NodeJS.ErrnoException).code === 'EAGAIN';
      if (!busy || performance.now() - start > BUSY_MS) throw error;
      await sleep(AGAIN_MS, undefined, signal === undefined ? {} : { signal });
    }
  }
}

function askOnce(runDir: string, line: string, signal?: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const socket = openSocket(runDir);
    if (socket === undefined) {
      resolve(undefined);
      return;
    }
    let answer = '';
    const abort = () => socket.destroy(abortReason(signal));
    // One signal may serve a whole agent: a listener a container is no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', abort, { once: true });
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${line}\n`));
    socket.on('data', (text: string) => {
      answer += text;
      if (!answer.endsWith('\n')) return;
      resolve(answer.slice(0, -1));
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(error);
      else if (!isGone(error)) reject(error);
    });
    socket.on('close', () => {
      signal?.removeEventListener('abort', abort);
      resolve(undefined);
    });
  });
}

/** A connection to a container's monitor; undefined when it has no run directory. */
function openSocket(runDir: string, allowHalfOpen = false): Socket | undefined {
  let directory: number;
  try {
    directory = openSync(runDir, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    // The kernel resolves the path within connect(2), so the descriptor has served when this returns.
    return connect({ path: `/proc/self/fd/${directory}/${SOCKET}`, allowHalfOpen });
  } finally {
    closeSync(directory);
  }
}

function isGone(error: NodeJS.ErrnoException): boolean {
  return ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '');
}

function abortReason(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error('aborted');
}
