/** Reads exact numbers of bytes from a stream of buffers of any size. */
import { InvalidError } from '../../shared/errors/index.ts';

export class ByteReader {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Throws InvalidError when the stream ends before. */
  async exactly(bytes: number): Promise<Buffer> {
    while (this.#heldBytes < bytes) {
      if (!(await this.#more())) throw new InvalidError('the backup is cut off: its end is missing');
    }
    const all = this.#held.length === 1 ? (this.#held[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#held);
    const rest = all.subarray(bytes);
    this.#held = rest.length === 0 ? [] : [rest];
    this.#heldBytes = rest.length;
    return all.subarray(0, bytes);
  }

  /** True when nothing follows. */
  async atEnd(): Promise<boolean> {
    while (this.#heldBytes === 0) {
      if (!(await this.#more())) return true;
    }
    return false;
  }

  /** Ends the stream that is read from. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #more(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) return false;
    this.#held.push(next.value);
    this.#heldBytes += next.value.length;
    return true;
  }
}
