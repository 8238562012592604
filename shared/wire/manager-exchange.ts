/** One request to a manager's port for nodes, over TLS, from who is no node or no manager yet: how one joins. */
import { type RequestOptions, request as httpsRequest } from 'node:https';
import { ConflictError, ForbiddenError, InvalidError, UnavailableError } from '../errors/index.ts';
import { tryJson } from '../lib/try-json.ts';
import { joinErrorSchema } from './join.ts';

const TIMEOUT_MS = 15_000;
/** An answer holds certificates and keys; who sends more is no manager. */
const MAX_BODY_BYTES = 256 * 1024;

export interface ManagerAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Sends the body, JSON or nothing, to `host:port`. `options`: method, path, and what TLS checks. Rejects with UnavailableError
 * when nothing answers within 15 s, or too much, and with the signal's reason when it aborts.
 */
export function askManagerAt(
  address: string,
  options: RequestOptions,
  body: string,
  signal: AbortSignal,
): Promise<ManagerAnswer> {
  return new Promise((resolve, reject) => {
    const unreachable = (cause: Error): void =>
      reject(
        signal.aborted
          ? signal.reason
          : new UnavailableError(`no manager can be reached at ${address}`, { cause }),
      );
    const request = httpsRequest(
      new URL(`https://${address}`),
      {
        ...options,
        agent: false,
        minVersion: 'TLSv1.3',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('error', unreachable);
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_BODY_BYTES) request.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
        );
      },
    );
    request.on('error', unreachable);
    request.end(body);
  });
}

/** What the manager says was wrong, as the error of its status: 400, 403, 409; UnavailableError for all else. */
export function refusalOf({ status, body }: ManagerAnswer, address: string): Error {
  const said = joinErrorSchema.safeParse(tryJson(body));
  const message = said.success ? said.data.message : `${address} answered ${status}`;
  if (status === 400) return new InvalidError(message);
  if (status === 403) return new ForbiddenError(message);
  return status === 409 ? new ConflictError(message) : new UnavailableError(message);
}
