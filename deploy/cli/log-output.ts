/** Where the daemons' own log goes. A log that can not be written must not stop what it tells of. */
import { writeSync } from 'node:fs';

/** How long a line is tried again when its reader is slow (EAGAIN). */
const SLOW_READER_MS = 200;
const AGAIN_MS = 10;

export type WriteSome = (fd: number, data: Buffer) => number;

/** A destination for pino. What a full disk or a reader that is gone does not take is lost, and counted in the log later. */
export class LogOutput {
  readonly #fd: number;
  readonly #writeSome: WriteSome;
  #lost = 0;
  #why = '';
  /** The last line was cut off: the next one begins on a line of its own. */
  #cut = false;

  constructor(fd: number, writeSome: WriteSome = writeSync) {
    this.#fd = fd;
    this.#writeSome = writeSome;
  }

  write(line: string): void {
    if (this.#lost > 0 && this.#put(this.#lossLine())) this.#lost = 0;
    if (this.#lost > 0 || !this.#put(line)) this.#lost += 1;
  }

  #lossLine(): string {
    const { pid } = process;
    const loss = { level: 50, time: Date.now(), pid, lost: this.#lost, reason: this.#why };
    return `${JSON.stringify({ ...loss, msg: 'lines of this log could not be written' })}\n`;
  }

  #put(line: string): boolean {
    const data = Buffer.from(this.#cut ? `\n${line}` : line);
    let written = 0;
    for (let waitedMs = 0; written < data.length; ) {
      try {
        written += this.#writeSome(this.#fd, data.subarray(written));
        this.#cut = written < data.length;
      } catch (error) {
        this.#why = (error as NodeJS.ErrnoException).code ?? String(error);
        // A reader that did not come in that time is not waited for with each line.
        if (this.#why !== 'EAGAIN' || this.#lost > 0 || waitedMs >= SLOW_READER_MS) return false;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, AGAIN_MS);
        waitedMs += AGAIN_MS;
      }
    }
    return true;
  }
}
