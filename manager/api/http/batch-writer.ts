import type { ServerResponse } from 'node:http';
import { writeAll } from './respond.ts';

const BATCH_BYTES = 64 * 1024;

/**
 * Many small pieces as few writes: what comes in one turn of the loop goes out together. At most a batch is held here; who
 * writes more waits until the client has taken it.
 */
export class BatchWriter {
  readonly #res: ServerResponse;
  readonly #signal: AbortSignal;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #scheduled = false;
  #sending: Promise<void> = Promise.resolve();

  constructor(res: ServerResponse, signal: AbortSignal) {
    this.#res = res;
    this.#signal = signal;
  }

  /** Rejects with the signal's reason once the client is gone. */
  async write(piece: Buffer): Promise<void> {
    this.#signal.throwIfAborted();
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes >= BATCH_BYTES) return this.flush();
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      // It fails only when the client is gone, which the next write sees.
      this.flush().catch(() => undefined);
    });
  }

  /** Resolves when the client has room for more. */
  flush(): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      if (this.#pieces.length === 0) return;
      const data = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#bytes = 0;
      if (data !== undefined) await writeAll(this.#res, data, this.#signal);
    });
    return this.#sending;
  }
}
