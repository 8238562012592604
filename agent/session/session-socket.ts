/** One WebSocket to one manager, from connecting to its end: TLS, heartbeats, and noticing that nobody is there. */
import { Agent } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';
import { WebSocket } from 'ws';
import { ForbiddenError, UnavailableError } from '../../shared/errors/index.ts';
import { VERSION } from '../../shared/lib/version.ts';
import type { Skew } from '../../shared/lib/version-skew.ts';
import { type AgentFrame, type ManagerFrame, parseManagerFrame } from '../../shared/wire/frames.ts';
import { peerSkew } from '../../shared/wire/tolerant.ts';
import { managerIdentityCheck } from '../../shared/wire/manager-tls.ts';
import { isOwnAddress } from './own-address.ts';

const HANDSHAKE_TIMEOUT_MS = 5_000;
/** After a restart thousands of nodes may come at once, and wait for their turn: who gives up early only makes work. */
const MAX_HANDSHAKE_TIMEOUT_MS = 40_000;
const CLOSE_TIMEOUT_MS = 500;
/** One heartbeat of so many asks for an answer: to tell that the manager is there, that is often enough. */
const PING_EVERY = 4;
/** A manager that is silent for this many heartbeats is gone, whatever TCP believes. */
const LOST_BEATS = 7;

export interface SocketHandlers {
  onOpen(): void;
  /** Throwing ends the session. */
  onFrame(frame: ManagerFrame): void;
  /** A binary frame. Throwing ends the session. */
  onData(frame: Buffer): void;
  /** A newer manager says what this version does not know; once for each field. */
  onUnknown?(field: string): void;
}

export interface SessionTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Ids of managers that were removed: whoever shows such a certificate is none. */
  readonly removedManagers?: readonly string[];
}

/** Begins to connect to `host:port`. `attempt`: how many attempts have failed before, 0 the first time. */
export type Connect = (manager: string, tls: SessionTls, attempt: number) => WebSocket;

/** Made of an identity as it was. */
interface Prepared extends SessionTls {
  readonly context: SecureContext;
  readonly check: ReturnType<typeof managerIdentityCheck>;
}

/** Reading keys and certificates costs as much as the rest of a handshake: once for each certificate. */
const prepared = new WeakMap<SessionTls, Prepared>();

function prepare(tls: SessionTls): Prepared {
  const { ca, cert, key } = tls;
  const known = prepared.get(tls);
  if (known?.ca === ca && known.cert === cert && known.key === key) return known;
  const context = createSecureContext({ ca, cert, key, minVersion: 'TLSv1.3' });
  // Looked at when somebody is to be believed: who was removed meanwhile is not.
  const check = managerIdentityCheck(cert, (id) => tls.removedManagers?.includes(id) !== true);
  const made = { ca, cert, key, context, check };
  prepared.set(tls, made);
  return made;
}

export const connectWebSocket: Connect = (manager, tls, attempt) => {
  const { context, check } = prepare(tls);
  const agent = new Agent({
    secureContext: context,
    minVersion: 'TLSv1.3',
    checkServerIdentity: check,
    // A resumed TLS session would skip the look at the certificate.
    maxCachedSessions: 0,
  });
  return new WebSocket(`wss://${manager}/session`, {
    agent,
    handshakeTimeout: Math.min(HANDSHAKE_TIMEOUT_MS * 2 ** attempt, MAX_HANDSHAKE_TIMEOUT_MS),
    perMessageDeflate: false,
    maxPayload: 0,
  });
};

export class SessionSocket {
  readonly #socket: WebSocket;
  readonly #timers = new Set<NodeJS.Timeout>();
  #beating: NodeJS.Timeout | undefined;
  /** This end's. */
  #address: string | undefined;
  #heardAtMs = performance.now();
  #failure: unknown;
  #skew: Skew | undefined;
  readonly #unknown = new Set<string>();

  constructor(socket: WebSocket, handlers: SocketHandlers) {
    this.#socket = socket;
    this.#socket.on('open', () => handlers.onOpen());
    this.#socket.on('upgrade', ({ socket }) => {
      this.#address = socket.localAddress;
    });
    this.#socket.on('pong', () => this.#heard());
    this.#socket.on('message', (data: Buffer, isBinary: boolean) =>
      this.#onMessage(data, isBinary, handlers),
    );
    this.#socket.on('error', (error) => this.fail(error));
    this.#socket.on('unexpected-response', (_request, response) => {
      response.resume();
      const said = `${response.statusCode} ${response.statusMessage}`;
      const refusal = `the manager refuses the session: ${said}`;
      this.fail(response.statusCode === 403 ? new ForbiddenError(refusal) : new UnavailableError(refusal));
    });
  }

  /** Resolves with why it ended. */
  async ended(signal: AbortSignal): Promise<unknown> {
    const onAbort = (): void => {
      this.#socket.close(1001, 'the agent stops');
      // A manager that hangs must not keep the agent from ending.
      this.#timers.add(setTimeout(() => this.#socket.terminate(), CLOSE_TIMEOUT_MS));
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const reason = await new Promise<string>((resolve) => {
      this.#socket.once('close', (code, text) =>
        resolve(text.toString('utf8') || `closed with code ${code}`),
      );
    });
    signal.removeEventListener('abort', onAbort);
    for (const timer of this.#timers) clearTimeout(timer);
    return this.#failure ?? new UnavailableError(reason);
  }

  send(frame: AgentFrame | Buffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  /** Heartbeats from now on, so often, and an end to the session when none is answered. */
  beat(everyMs: number): void {
    clearInterval(this.#beating);
    let turn = 0;
    const timer = setInterval(() => {
      turn += 1;
      if (turn % PING_EVERY !== 0) this.send({ type: 'beat' });
      else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
      const silentMs = performance.now() - this.#heardAtMs;
      if (silentMs > everyMs * LOST_BEATS) this.fail(new UnavailableError('the manager does not answer'));
      void this.#checkAddress();
    }, everyMs);
    this.#beating = timer;
    this.#timers.add(timer);
  }

  /** To wait for an answer when there can be none would take longer than the node may be silent. */
  async #checkAddress(): Promise<void> {
    const address = this.#address;
    if (address === undefined || (await isOwnAddress(address))) return;
    this.fail(new UnavailableError(`this machine does not have the address ${address} any more`));
  }

  /** Ends the session at once. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.#socket.terminate();
  }

  #onMessage(data: Buffer, isBinary: boolean, handlers: SocketHandlers): void {
    this.#heard();
    try {
      if (isBinary) handlers.onData(data);
      else this.#onText(data.toString('utf8'), handlers);
    } catch (error) {
      this.fail(error);
    }
  }

  /** The first frame tells the manager's version. */
  #onText(text: string, handlers: SocketHandlers): void {
    if (this.#skew === undefined) {
      const { skew, version } = peerSkew(text);
      this.#skew = skew;
      if (skew === 'apart')
        throw new ForbiddenError(
          `the manager runs Shoal ${version}, this node ${VERSION}: more than one minor release apart`,
        );
    }
    const tolerate = (field: string): void => {
      if (this.#unknown.has(field)) return;
      this.#unknown.add(field);
      handlers.onUnknown?.(field);
    };
    handlers.onFrame(parseManagerFrame(text, this.#skew === 'newer' ? tolerate : undefined));
  }

  #heard(): void {
    this.#heardAtMs = performance.now();
  }
}
