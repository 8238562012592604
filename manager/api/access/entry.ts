/**
 * The way into the API over TCP: who it is, by certificate or token; then to the API as that user has it. Whoever loses what it
 * came in by, or has other rights from then on, loses its connections too, whatever goes on over them.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { GuardedPort } from '../../dispatcher/guarded-port.ts';
import { sendJson } from '../http/respond.ts';
import {
  accessKey,
  certificateProof,
  type Principal,
  type Proof,
  tokenProof,
  type UserDirectory,
} from './directory.ts';
import type { Access } from './routes.ts';

/** How often it is looked whether what streams were opened with has ended by time. */
const LOOK_MS = 10_000;

export interface EntryOptions {
  readonly directory: UserDirectory;
  /** The API for those who may this. Asked once for each. */
  readonly api: (access: Access) => RequestListener;
  /** Its connections are strangers' until they have shown who they are. */
  readonly port: Pick<GuardedPort, 'of'>;
  /** Nobody came in by this. */
  readonly refused: (req: IncomingMessage, why: string) => void;
}

const principals = new WeakMap<IncomingMessage, Principal>();

/** Undefined: it came by the unix socket. */
export function principalOf(req: IncomingMessage): Principal | undefined {
  return principals.get(req);
}

export class Entry {
  readonly #options: EntryOptions;
  readonly #apis = new Map<string, RequestListener>();
  readonly #inside = new Map<TLSSocket, Map<string, Principal>>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: EntryOptions) {
    this.#options = options;
    options.directory.onChange(() => {
      // Rights that nobody has any more are not kept.
      this.#apis.clear();
      this.#look();
    });
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    const socket = req.socket as TLSSocket;
    const site = req.headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none')
      return refuse(res, 403, 'a page of another site may not use the API');
    const found = this.#identify(req, socket);
    if (typeof found === 'string') {
      this.#options.refused(req, found);
      return refuse(res, 401, found);
    }
    this.#options.port.of(socket)?.proven();
    // Of a user's stream, silence is no fault.
    socket.setTimeout(0);
    this.#note(socket, found);
    principals.set(req, found);
    // A token is for here alone.
    delete req.headers.authorization;
    this.#apiOf(found.access)(req, res);
  };

  close(): void {
    clearInterval(this.#timer);
  }

  /** A token counts before a certificate: it was said for this request. In words, why it is nobody. */
  #identify(req: IncomingMessage, socket: TLSSocket): Principal | string {
    const header = req.headers.authorization;
    if (header !== undefined) {
      const proof = tokenProof(/^Bearer +(\S+) *$/i.exec(header)?.[1] ?? '');
      if (proof === undefined)
        return 'the header Authorization holds no token of a user (Bearer SHLUSR-1-...)';
      return this.#options.directory.find(proof) ?? 'the token is not known, was revoked, or has expired';
    }
    const proof = certificateOf(socket);
    if (proof === undefined) return 'this needs a certificate or a token of a user (shoal user add)';
    return this.#options.directory.find(proof) ?? "the certificate is no user's, was revoked, or has expired";
  }

  #apiOf(access: Access): RequestListener {
    const key = accessKey(access);
    const api = this.#apis.get(key) ?? this.#options.api(access);
    this.#apis.set(key, api);
    return api;
  }

  #note(socket: TLSSocket, principal: Principal): void {
    let known = this.#inside.get(socket);
    if (known === undefined) {
      known = new Map();
      this.#inside.set(socket, known);
      socket.once('close', () => this.#inside.delete(socket));
    }
    known.set(keyOf(principal.proof), principal);
  }

  /** Ends the connections of those who are not who they were. */
  #look(): void {
    for (const [socket, known] of this.#inside) {
      const same = [...known.values()].every(({ proof, access }) => {
        const now = this.#options.directory.find(proof);
        return now !== undefined && accessKey(now.access) === accessKey(access);
      });
      if (!same) socket.destroy();
    }
  }
}

function keyOf({ kind, digest }: Proof): string {
  return `${kind}/${digest}`;
}

/** TLS has seen that the other side has the certificate's key; whose it is, the table of users says. */
function certificateOf(socket: TLSSocket): Proof | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : certificateProof(certificate.raw);
}

function refuse(res: ServerResponse, status: number, message: string): void {
  res.setHeader('Connection', 'close');
  if (status === 401) res.setHeader('WWW-Authenticate', 'Bearer realm="shoal"');
  sendJson(res, status, { message });
}
