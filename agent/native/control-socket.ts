import { setMaxListeners } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

const SOCKET = 'monitor.sock';

/**
 * Sends one line to a container's monitor and gives its one line of answer; undefined when there is no monitor, or when
 * it ended before it answered. The socket is addressed through /proc/self/fd, as its path may exceed the 108 bytes of a
 * unix address.
 */
export function askMonitor(runDir: string, line: string, signal?: AbortSignal): Promise<string | undefined> {
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
      if (answer.endsWith('\n')) socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(error);
      else if (!isGone(error)) reject(error);
    });
    socket.on('close', () => {
      signal?.removeEventListener('abort', abort);
      resolve(answer.endsWith('\n') ? answer.slice(0, -1) : undefined);
    });
  });
}

/** A connection to a container's monitor; undefined when it has no run directory. */
export function openSocket(runDir: string, allowHalfOpen = false): Socket | undefined {
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
