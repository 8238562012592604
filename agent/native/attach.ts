/** Being attached to a container: a copy of its output from now on, and its standard input. */
import type { Socket } from 'node:net';
import { connectMonitor } from './control-socket.ts';
import { refusalOf } from './errors.ts';

const NEWLINE = 0x0a;

export interface OutputAttachment {
  /**
   * Frames of the container's output (see native/src/monitor/attach.h), or with a terminal the output as it comes. It ends
   * with the container. Who does not read for 10 s is cut off.
   */
  readonly socket: Socket;
  /**
   * What of the log was written before: all that came before, but for the beginning of a line that is not whole. So many
   * bytes of the file with this number, which is -1 for the one of a monitor of version 0.1.0, and of those before it all.
   */
  readonly logEnd: { readonly number: number; readonly bytes: number };
}

/**
 * Attaches to the output of a container that was created, started or not. `replay`: the beginning of a line that is not in
 * the log yet is given first. Rejects with NativeError: ESRCH when the container is gone, EUSERS when too many are attached.
 */
export async function attachOutput(runDir: string, replay: boolean): Promise<OutputAttachment> {
  const { socket, answer } = await openAttachment(runDir, replay ? 'output replay' : 'output');
  const [bytes = 0, number = -1] = answer.split(' ').map(Number).toReversed();
  return { socket, logEnd: { number, bytes } };
}

/**
 * The container's standard input, to be written to; `end()` is its end. Apart from the output: a write that comes too late
 * must not take along what the container said last. Rejects as attachOutput does.
 */
export async function attachInput(runDir: string): Promise<Socket> {
  return (await openAttachment(runDir, 'stdin')).socket;
}

async function openAttachment(runDir: string, words: string): Promise<{ socket: Socket; answer: string }> {
  const socket = await connectMonitor(runDir);
  if (socket === undefined) throw refusalOf(undefined, 'attach');
  socket.write(`attach ${words}\n`);
  try {
    const line = await firstLine(socket);
    const answer = /^ok ((?:\d+ )?\d+)$/.exec(line ?? '')?.[1];
    if (answer === undefined) throw refusalOf(line, 'attach');
    return { socket, answer };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** What follows the line stays in the socket. Undefined when there is none. */
async function firstLine(socket: Socket): Promise<string | undefined> {
  let seen = Buffer.alloc(0);
  for (;;) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf(NEWLINE);
      if (end < 0) continue;
      if (end + 1 < seen.length) socket.unshift(seen.subarray(end + 1));
      return seen.toString('utf8', 0, end);
    }
    if (socket.readableEnded || socket.destroyed) return undefined;
    await new Promise<void>((resolve) => {
      const settle = (): void => {
        socket.off('readable', settle).off('end', settle).off('close', settle);
        resolve();
      };
      socket.once('readable', settle).once('end', settle).once('close', settle);
    });
  }
}
