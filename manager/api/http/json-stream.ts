/** Answers that are a JSON document a line: what Docker's clients show as progress. */
import type { ServerResponse } from 'node:http';
import { describeError } from '../../../shared/errors/index.ts';
import { writeAll } from './respond.ts';

export class JsonStream {
  readonly #res: ServerResponse;
  readonly #signal: AbortSignal;

  /** `signal` aborts when the client is gone. */
  constructor(res: ServerResponse, signal: AbortSignal) {
    this.#res = res;
    this.#signal = signal;
  }

  /** The first one sends the head: until then the request may still be answered with an error's status. */
  async write(line: object): Promise<void> {
    if (!this.#res.headersSent) {
      this.#res.statusCode = 200;
      this.#res.setHeader('Content-Type', 'application/json');
    }
    await writeAll(this.#res, `${JSON.stringify(line)}\r\n`, this.#signal);
  }

  /** Runs what writes, and ends the answer. An error after the first line is its last line. */
  async run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!this.#res.headersSent || this.#signal.aborted) throw error;
      const message = describeError(error);
      await this.write({ errorDetail: { message }, error: message });
    }
    if (!this.#res.headersSent) {
      this.#res.statusCode = 200;
      this.#res.setHeader('Content-Type', 'application/json');
    }
    this.#res.end();
  }
}
