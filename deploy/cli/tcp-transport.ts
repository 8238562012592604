/**
 * The API of managers over TCP. When one does not answer, the next is asked; a request that may have reached one is sent again only
 * when doing it twice is the same as doing it once.
 */
import { type IncomingMessage } from 'node:http';
import { request, type RequestOptions } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { describeError, ForbiddenError, InvalidError, UnavailableError } from '../../shared/errors/index.ts';
import { type ApiBody, headersOf, type Transport } from './client.ts';

const CONNECT_MS = 5_000;
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT']);

/** PEM texts. */
export interface TcpCredentials {
  readonly ca: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
  readonly token?: string;
}

interface Failure {
  readonly error: Error;
  /** The manager may have read the request. */
  readonly sent: boolean;
}

export class TcpTransport implements Transport {
  readonly #hosts: readonly { readonly host: string; readonly port: number }[];
  readonly #tls: RequestOptions;
  readonly #headers: Readonly<Record<string, string>>;
  /** The one that answered last comes first. */
  #first = 0;

  constructor(hosts: readonly { host: string; port: number }[], credentials: TcpCredentials) {
    this.#hosts = hosts;
    const { ca, certificate, token } = credentials;
    this.#tls = { ca, minVersion: 'TLSv1.3', ...(token === undefined ? certificate : {}) };
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  /** Rejects with UnavailableError when no manager answers. */
  async open(
    method: string,
    path: string,
    body: ApiBody | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const why: string[] = [];
    let repeated = false;
    for (let turn = 0; turn < this.#hosts.length + (repeated ? 1 : 0); turn += 1) {
      const index = (this.#first + turn) % this.#hosts.length;
      const answer = await this.#ask(index, { method, path }, body, signal);
      if ('response' in answer) {
        this.#first = index;
        return answer.response;
      }
      signal.throwIfAborted();
      const { error, sent } = answer;
      const name = this.#nameOf(index);
      if (sent && !REPEATABLE.has(method))
        throw new UnavailableError(
          `${name} was lost after it got the request, which may have been done: look before you try again`,
          { cause: error },
        );
      if (sent && repeated)
        throw new UnavailableError(`${name} was lost, after another one`, { cause: error });
      repeated ||= sent;
      why.push(`${name}: ${describeError(error)}`);
    }
    throw new UnavailableError(`no manager answers: ${why.join('; ')}`);
  }

  #nameOf(index: number): string {
    const { host, port } = this.#hosts[index] ?? { host: '', port: 0 };
    return `${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  #ask(
    index: number,
    { method, path }: { method: string; path: string },
    body: ApiBody | undefined,
    signal: AbortSignal,
  ): Promise<{ response: IncomingMessage } | Failure> {
    const { host, port } = this.#hosts[index] ?? { host: '', port: 0 };
    const headers = { ...this.#headers, ...headersOf(body) };
    return new Promise((resolve, reject) => {
      let sent = false;
      const options = { ...this.#tls, host, port, method, path, headers, signal, agent: false };
      const outgoing = request(options, (response) => resolve({ response }));
      outgoing.on('socket', (socket) => {
        const late = setTimeout(() => socket.destroy(new Error('no connection in time')), CONNECT_MS);
        socket.once('close', () => clearTimeout(late));
        (socket as TLSSocket).once('secureConnect', () => {
          clearTimeout(late);
          sent = true;
        });
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        const final = sent ? undefined : untrusted(this.#nameOf(index), error);
        if (final !== undefined) reject(final);
        else resolve({ error, sent });
      });
      outgoing.end(body?.text);
    });
  }
}

/** What another manager would not make good, or must not. */
function untrusted(name: string, error: NodeJS.ErrnoException): Error | undefined {
  switch (error.code) {
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'CERT_SIGNATURE_FAILURE':
      return new ForbiddenError(
        `${name} is not of the cluster whose ca.pem you have, or its CA was replaced: get a new one (shoal user rotate)`,
        { cause: error },
      );
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return new InvalidError(
        `${name}: the manager's certificate has other names: start it with --api-name for this one`,
        { cause: error },
      );
    default:
      return undefined;
  }
}
