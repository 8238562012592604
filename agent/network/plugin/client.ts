/** One call of Docker's plugin protocol: a POST of JSON over the plugin's socket, which has its time and its size. */
import { request } from 'node:http';
import { UnavailableError } from '../../../shared/errors/index.ts';

/** Where a plugin listens. */
export type PluginAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number };

/** What it said of itself, or that it does not know the call. */
export class PluginRefusal extends Error {
  override readonly name = 'PluginRefusal';
  readonly unknownMethod: boolean;

  constructor(message: string, unknownMethod = false) {
    super(message);
    this.unknownMethod = unknownMethod;
  }
}

const MEDIA_TYPE = 'application/vnd.docker.plugins.v1.2+json';
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_MESSAGE = 300;

/** Rejects with PluginRefusal for what it answers, and with UnavailableError when it does not, or without end. */
export function callPlugin(
  address: PluginAddress,
  method: string,
  params: object,
  timeoutMs: number,
): Promise<unknown> {
  const body = JSON.stringify(params);
  const headers = {
    'Content-Type': MEDIA_TYPE,
    Accept: MEDIA_TYPE,
    Host: 'plugin',
    'Content-Length': Buffer.byteLength(body),
  };
  // Of all of it, also of an answer that comes a byte at a time.
  const signal = AbortSignal.timeout(timeoutMs);
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      const why = signal.aborted ? `no answer within ${timeoutMs / 1000} s` : messageOf(error);
      reject(new UnavailableError(`${method}: ${why}`, { cause: error }));
    };
    const call = request(
      { ...address, method: 'POST', path: `/${method}`, headers, agent: false, signal },
      (answer) => {
        const parts: Buffer[] = [];
        let size = 0;
        answer.on('data', (part: Buffer) => {
          size += part.length;
          parts.push(part);
          if (size <= MAX_ANSWER_BYTES) return;
          answer.destroy(new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`));
        });
        answer.on('error', fail);
        answer.on('end', () => {
          try {
            resolve(read(answer.statusCode ?? 0, Buffer.concat(parts).toString(), method));
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    call.on('error', fail);
    call.end(body);
  });
}

/** An error is in `Err`, with any status. */
function read(status: number, text: string, method: string): unknown {
  let answer: unknown = {};
  try {
    if (text.trim() !== '') answer = JSON.parse(text);
  } catch {
    if (status === 200) throw new PluginRefusal(`${method}: its answer is no JSON`);
  }
  const said = typeof answer === 'object' && answer !== null && 'Err' in answer ? answer.Err : '';
  const error = typeof said === 'string' ? said.slice(0, MAX_MESSAGE) : 'its error is no text';
  if (status === 200 && error === '') return answer;
  throw new PluginRefusal(`${method}: ${error === '' ? `status ${status}` : error}`, status === 404);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
