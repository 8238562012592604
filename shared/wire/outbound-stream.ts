/** One direction of a stream, as its source sends it: no more than was granted; the source stops meanwhile. */
import type { StreamChunk } from '../model/node-methods/index.ts';
import { STREAM_CHUNK_BYTES, STREAM_WINDOW_BYTES } from './frames.ts';

export class OutboundStream {
  readonly #send: (chunk: StreamChunk) => void;
  /** Of one piece: with a small window no more than that is sent ahead. */
  readonly #pieceBytes: number;
  #credit: number;
  #wake: (() => void) | undefined;

  constructor(send: (chunk: StreamChunk) => void, windowBytes: number = STREAM_WINDOW_BYTES) {
    this.#send = send;
    this.#credit = windowBytes;
    this.#pieceBytes = Math.min(STREAM_CHUNK_BYTES, windowBytes);
  }

  grant(bytes: number): void {
    this.#credit += bytes;
    this.#wake?.();
  }

  /** Sends all of the source. Leaves the source when the signal aborts. */
  async pump(source: AsyncIterable<StreamChunk>, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const chunk of source) {
        for (const piece of pieces(chunk, this.#pieceBytes)) {
          await this.#allowed(signal);
          this.#credit -= piece.data.length;
          this.#send(piece);
        }
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #allowed(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (this.#credit <= 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      signal.throwIfAborted();
    }
  }
}

function* pieces(chunk: StreamChunk, bytes: number): Generator<StreamChunk> {
  for (let at = 0; at === 0 || at < chunk.data.length; at += bytes) {
    yield { stream: chunk.stream, data: chunk.data.subarray(at, at + bytes) };
  }
}
