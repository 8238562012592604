/** Between a command's sockets and a stream of chunks, with back-pressure both ways. */
import type { Socket } from 'node:net';
import type { StreamChunk } from '../../shared/model/node-methods/index.ts';

/** The command's output as it comes, until both are at their ends. At most one chunk of each is held. */
export async function* mergedOutput(
  stdout: Socket,
  stderr: Socket,
  signal: AbortSignal,
): AsyncGenerator<StreamChunk> {
  const ready: { chunk: StreamChunk; source: Socket }[] = [];
  // What is at its end before somebody listens has said so already.
  const open = new Set([stdout, stderr].filter((source) => !source.readableEnded && !source.destroyed));
  let wake: (() => void) | undefined;
  const woken = (): void => wake?.();
  const listen = (source: Socket, stream: 1 | 2): void => {
    const over = (): void => {
      open.delete(source);
      woken();
    };
    source.on('data', (data: Buffer) => {
      ready.push({ chunk: { stream, data }, source });
      source.pause();
      woken();
    });
    source.once('end', over).once('close', over);
  };
  if (open.has(stdout)) listen(stdout, 1);
  if (open.has(stderr)) listen(stderr, 2);
  signal.addEventListener('abort', woken, { once: true });
  try {
    while (open.size > 0 || ready.length > 0) {
      signal.throwIfAborted();
      const next = ready.shift();
      if (next !== undefined) {
        yield next.chunk;
        next.source.resume();
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener('abort', woken);
  }
}

/**
 * Writes the input to the command no faster than it reads, then ends its standard input; a terminal has no end of input
 * but the one that is typed. What comes for a command that does not read any more is dropped.
 */
export async function feed(
  stdin: Socket,
  input: AsyncIterable<Buffer>,
  terminal: boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const data of input) {
    signal.throwIfAborted();
    if (stdin.writable && !stdin.write(data)) await drained(stdin, signal);
  }
  if (!terminal) stdin.end();
}

function drained(socket: Socket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off('drain', settle).off('close', settle).off('error', settle);
      signal.removeEventListener('abort', settle);
      resolve();
    };
    socket.once('drain', settle).once('close', settle).once('error', settle);
    signal.addEventListener('abort', settle, { once: true });
  });
}
