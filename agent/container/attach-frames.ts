/** PURE. The frames of an attached container's output: stream, three zeroes, size (32 bits, big-endian), data. */
import { InvalidError } from '../../shared/errors/index.ts';
import type { StreamChunk } from '../../shared/model/node-methods/index.ts';

const HEADER_BYTES = 8;

/** Takes bytes as they come apart and gives chunks; of a frame that has not all come, what is there. */
export class AttachFrames {
  #header: Buffer = Buffer.alloc(0);
  #stream: 1 | 2 = 1;
  #left = 0;

  /** Throws InvalidError for what is no frame. */
  *push(data: Buffer): Generator<StreamChunk> {
    for (let at = 0; at < data.length; ) {
      if (this.#left === 0) {
        const missing = HEADER_BYTES - this.#header.length;
        this.#header = Buffer.concat([this.#header, data.subarray(at, at + missing)]);
        at += missing;
        if (this.#header.length === HEADER_BYTES) this.#begin();
        continue;
      }
      const part = data.subarray(at, at + this.#left);
      at += part.length;
      this.#left -= part.length;
      yield { stream: this.#stream, data: part };
    }
  }

  #begin(): void {
    const stream = this.#header.readUInt8(0);
    if (stream !== 1 && stream !== 2)
      throw new InvalidError(`output of a stream ${stream}, which there is not`);
    this.#stream = stream;
    this.#left = this.#header.readUInt32BE(4);
    this.#header = Buffer.alloc(0);
  }
}
