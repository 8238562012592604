import { NativeError, type NativeFailure, errorParameter } from './errors.ts';
import { library } from './library.ts';

const send = library.func('shoal_datagrams_send', 'int', [
  'str',
  'void *',
  'void *',
  'uint32',
  'void *',
  errorParameter,
]);

/** How many datagrams went, and what came of the next: undefined when all went. */
export interface DatagramsSent {
  readonly sent: number;
  readonly error?: NativeError;
}

/** To the unix datagram socket at the path, without waiting for its reader. */
export function sendDatagrams(path: string, datagrams: readonly Buffer[]): Promise<DatagramsSent> {
  const data = Buffer.concat(datagrams);
  const lengths = Uint32Array.from(datagrams, ({ length }) => length);
  const sent = new Uint32Array(1);
  const failure = {} as NativeFailure;
  return new Promise((resolve, reject) => {
    send.async(path, data, lengths, lengths.length, sent, failure, (error: unknown, code: number) => {
      if (error) reject(error);
      else if (code < 0)
        resolve({ sent: sent[0] ?? 0, error: new NativeError(-code, failure.step, failure.detail) });
      else resolve({ sent: lengths.length });
    });
  });
}
