/**
 * A client that costs next to nothing: HTTP/1.1 over one kept unix connection, one request at a time, the answer read to its
 * end and forgotten. What is measured is the server and not Node's own client.
 */
import { connect, type Socket } from 'node:net';

const HEAD_END = '\r\n\r\n';
/** What ends a chunked body. It can not be within one: JSON has no line end in a text. */
const LAST_CHUNK = '0\r\n\r\n';

interface Answer {
  readonly path: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Bytes of the body that are to come; Infinity: until the last chunk. Undefined before the head is whole. */
  left: number | undefined;
  /** The head as far as it is here, or the end of a chunked body. */
  tail: string;
}

export class Connection {
  readonly #socket: Socket;
  #answer: Answer | undefined;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on('data', (data) => this.#onData(data));
    this.#socket.on('error', (error) => this.#answer?.reject(error));
    this.#socket.on('close', () => this.#answer?.reject(new Error('the connection was closed')));
  }

  /** Rejects for any other status than 200. */
  get(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#answer = { path, resolve, reject, left: undefined, tail: '' };
      this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`);
    });
  }

  close(): void {
    this.#answer = undefined;
    this.#socket.destroy();
  }

  #onData(data: Buffer): void {
    const answer = this.#answer;
    if (answer === undefined) return;
    if (answer.left === undefined) this.#head(answer, data);
    else if (answer.left !== Infinity) answer.left -= data.length;
    else answer.tail = `${answer.tail}${data.toString('latin1', Math.max(0, data.length - 8))}`.slice(-8);
    const whole = answer.left === 0 || (answer.left === Infinity && answer.tail.endsWith(LAST_CHUNK));
    if (!whole) return;
    this.#answer = undefined;
    answer.resolve();
  }

  #head(answer: Answer, data: Buffer): void {
    answer.tail += data.toString('latin1');
    const end = answer.tail.indexOf(HEAD_END);
    if (end < 0) return;
    const head = answer.tail.slice(0, end);
    if (!head.startsWith('HTTP/1.1 200'))
      answer.reject(new Error(`${answer.path}: ${head.split('\r\n')[0]}`));
    const length = /^content-length: *(\d+)/im.exec(head)?.[1];
    answer.left =
      length === undefined ? Infinity : Number(length) - (answer.tail.length - end - HEAD_END.length);
    answer.tail = answer.tail.slice(-8);
  }
}
