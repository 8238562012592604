/**
 * One direction of a stream, as its consumer reads it. The other side may send no more than the consumer has granted: a
 * window at the start, then as much as was taken. So what waits here is bounded, and a slow consumer slows only its own stream.
 */
import { InvalidError } from '../errors/index.ts';
import type { StreamChunk } from '../model/node-methods/index.ts';
import { STREAM_CHUNK_BYTES, STREAM_WINDOW_BYTES } from './frames.ts';

/** Credit goes back in such a part of the window, so that it does not cost a frame a chunk. */
const GRANT_PART = 1 / 4;

export class InboundStream {
  readonly #grant: (bytes: number) => void;
  readonly #chunks: StreamChunk[] = [];
  /** What the other side may still send; a chunk may overdraw it once. */
  #credit: number;
  readonly #grantBytes: number;
  #taken = 0;
  #ended: { readonly error?: Error } | undefined;
  #wake: (() => void) | undefined;

  /** `grant` tells the other side that it may send so many bytes more; both sides begin with the same window. */
  constructor(grant: (bytes: number) => void, windowBytes: number = STREAM_WINDOW_BYTES) {
    this.#grant = grant;
    this.#credit = windowBytes;
    this.#grantBytes = Math.ceil(windowBytes * GRANT_PART);
  }

  /** Throws InvalidError when more comes than was granted. */
  push(chunk: StreamChunk): void {
    if (this.#ended !== undefined) return;
    if (this.#credit <= 0 || chunk.data.length > STREAM_CHUNK_BYTES) {
      throw new InvalidError('more was sent on a stream than was granted');
    }
    this.#credit -= chunk.data.length;
    this.#chunks.push(chunk);
    this.#wake?.();
  }

  /** No more chunks follow. With an error, the consumer gets it after what came before. */
  end(error?: Error): void {
    this.#ended ??= error === undefined ? {} : { error };
    this.#wake?.();
  }

  /** True once nothing more will come. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** The next chunk, or undefined at the end. One reader at a time. */
  async next(): Promise<StreamChunk | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) return this.#take(chunk);
      if (this.#ended?.error !== undefined) throw this.#ended.error;
      if (this.#ended !== undefined) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  /** What is left of it, without the kinds. */
  async *data(): AsyncGenerator<Buffer> {
    for (;;) {
      const chunk = await this.next();
      if (chunk === undefined) return;
      yield chunk.data;
    }
  }

  #take(chunk: StreamChunk): StreamChunk {
    this.#taken += chunk.data.length;
    if (this.#taken >= this.#grantBytes && this.#ended === undefined) {
      this.#credit += this.#taken;
      this.#grant(this.#taken);
      this.#taken = 0;
    }
    return chunk;
  }
}
