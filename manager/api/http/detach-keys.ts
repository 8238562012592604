/**
 * PURE. The keys that take a terminal's client away and leave the command running; written as `ctrl-p,ctrl-q`: `ctrl-` and
 * one of a-z @ [ \ ] ^ _, or one character, comma-separated (docker attach --detach-keys).
 */
import { InvalidError } from '../../../shared/errors/index.ts';

const DEFAULT_KEYS = Buffer.from([0x10, 0x11]);

/** Empty: ctrl-p, ctrl-q. Throws InvalidError. */
export function parseDetachKeys(text: string): Buffer {
  if (text === '') return DEFAULT_KEYS;
  return Buffer.concat(text.split(',').map((key) => keyBytes(key, text)));
}

function keyBytes(key: string, text: string): Buffer {
  const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
  if (control !== undefined) return Buffer.from([control.toUpperCase().charCodeAt(0) - 0x40]);
  if ([...key].length === 1) return Buffer.from(key);
  throw new InvalidError(`Invalid detach keys (${text}) provided: Unknown character: '${key}'`);
}

/** Looks for the keys in what is typed. A beginning of them is held back until it is known to be something else. */
export class DetachScanner {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** What of it goes on to the command, and whether the keys have come; what follows them is dropped. */
  push(data: Buffer): { passed: Buffer; detached: boolean } {
    const passed: Buffer[] = [];
    for (const byte of data) {
      if (byte !== this.#keys[this.#matched] && this.#matched > 0) {
        passed.push(this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (byte !== this.#keys[this.#matched]) {
        passed.push(Buffer.from([byte]));
        continue;
      }
      this.#matched += 1;
      if (this.#matched === this.#keys.length) return { passed: Buffer.concat(passed), detached: true };
    }
    return { passed: Buffer.concat(passed), detached: false };
  }
}
