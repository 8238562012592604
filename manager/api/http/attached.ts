/** A client on the streams of something that runs on a node: both ways, until either side ends. */
import type { Request } from 'express';
import { describeError, UnsupportedError } from '../../../shared/errors/index.ts';
import type { StreamChunk } from '../../../shared/model/node-methods/index.ts';
import { frame } from '../logs/frame.ts';
import type { Channel } from './channel.ts';
import { DetachScanner } from './detach-keys.ts';
import { upgradeSocket } from './upgrade.ts';

/** How often a client that says nothing is looked for. */
const PROBE_MS = 10_000;

export interface Attached {
  /** Output is framed by its stream; else it is as it comes, which terminals and WebSockets have. */
  readonly framed: boolean;
  /** The client's input is wanted. */
  readonly stdin: boolean;
  /** A client whose input has ended leaves. */
  readonly leavesAtInputEnd: boolean;
  /** A client that sends these leaves. */
  readonly detachKeys?: Buffer;
}

/** Starts what gives the output; it is left by the signal. */
export type OpenOutput = (input: AsyncIterable<Buffer>, signal: AbortSignal) => AsyncIterable<StreamChunk>;

/** Throws UnsupportedError. */
export function refuseInputWithoutConnection(req: Request, stdin: boolean): void {
  if (stdin && upgradeSocket(req) === undefined)
    throw new UnsupportedError('standard input without a connection of its own: send "Upgrade: tcp"');
}

/** Copies until the output ends or the client leaves, then closes the channel. An error is said to the client. */
export async function relay(
  channel: Channel,
  how: Attached,
  open: OpenOutput,
  stopping: AbortSignal,
): Promise<void> {
  const detached = new AbortController();
  const signal = AbortSignal.any([channel.gone, detached.signal, stopping]);
  const probe = setInterval(() => probeClient(channel, how), PROBE_MS);
  try {
    for await (const chunk of open(wantedInput(channel, how, detached), signal)) {
      await channel.write(how.framed ? frame(chunk.stream, chunk.data) : chunk.data);
    }
  } catch (error) {
    if (!signal.aborted) await channel.write(complaint(error, how));
  } finally {
    clearInterval(probe);
    channel.close();
  }
}

function wantedInput(channel: Channel, how: Attached, detached: AbortController): AsyncIterable<Buffer> {
  // Read all the same: else nobody would notice that the client has gone.
  if (!how.stdin) return discarded(channel.input);
  const typed =
    how.detachKeys === undefined ? channel.input : untilKeys(channel.input, how.detachKeys, detached);
  return how.leavesAtInputEnd ? untilEnd(typed, detached) : typed;
}

async function* discarded(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const _ of input) yield* [];
}

/** A terminal's user who goes away takes only the view along: the command is not told (moby daemon/attach does so too). */
async function* untilEnd(input: AsyncIterable<Buffer>, detached: AbortController): AsyncGenerator<Buffer> {
  yield* input;
  detached.abort();
}

async function* untilKeys(
  input: AsyncIterable<Buffer>,
  keys: Buffer,
  detached: AbortController,
): AsyncGenerator<Buffer> {
  const scanner = new DetachScanner(keys);
  for await (const data of input) {
    const found = scanner.push(data);
    if (found.passed.length > 0) yield found.passed;
    if (found.detached) return detached.abort();
  }
}

/** After its half of the connection is closed, only writing tells whether a client is there: a frame of no bytes does. */
function probeClient(channel: Channel, how: Attached): void {
  if (how.framed && channel.inputEnded()) void channel.write(frame(1, Buffer.alloc(0)));
}

function complaint(error: unknown, how: Attached): Buffer {
  const text = Buffer.from(`${describeError(error)}\r\n`);
  return how.framed ? frame(2, text) : text;
}
