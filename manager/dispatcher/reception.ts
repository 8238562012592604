/** Who opens a session, and whether it can be: the first frame, what the node says of itself, and what others say already. */
import type { WebSocket } from 'ws';
import type { Clock } from '../../shared/lib/clock.ts';
import { VERSION } from '../../shared/lib/version.ts';
import { versionSkew } from '../../shared/lib/version-skew.ts';
import type { Logger, Node, NodeDescription, TunnelKeys } from '../../shared/model/index.ts';
import { closeReason } from '../../shared/wire/close-reason.ts';
import { CLOSE } from '../../shared/wire/frames.ts';
import type { HeldCertificate } from '../ca/renewal.ts';
import type { Store } from '../store/store.ts';
import { awaitHello, type Hello } from './handshake.ts';
import { NodeClaims } from './node-claims.ts';
import type { NodeSession } from './node-session.ts';
import type { Refusals } from './refusals.ts';
import { clockOffsetMs, clockWarning } from './report-times.ts';

/** Who has opened a socket, by its certificate. */
export interface Caller {
  readonly nodeId: string;
  readonly certificate?: HeldCertificate;
  /** The address that it comes from. */
  readonly from?: string;
}

/** One that is let in. */
export interface Guest extends Caller {
  readonly socket: WebSocket;
  readonly node: Node;
  readonly description: NodeDescription;
  /** What people should know of it. */
  readonly warning: string | undefined;
  /** It runs a newer version. */
  readonly newer: boolean;
}

export class Reception {
  readonly #store: Store;
  readonly #refusals: Refusals;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #claims: NodeClaims;

  constructor(store: Store, refusals: Refusals, clock: Clock, logger: Logger) {
    this.#logger = logger;
    this.#store = store;
    this.#refusals = refusals;
    this.#clock = clock;
    this.#claims = new NodeClaims(store.all('nodes').values(), (nodeId) => store.get('nodes', nodeId));
  }

  /** Calls `open` once its hello is good. */
  receive(socket: WebSocket, caller: Caller, open: (guest: Guest) => void): void {
    const { nodeId } = caller;
    const onRefused = (error: string): void => this.#refusals.add('hello', { nodeId, error });
    const onUnknown = (field: string): void =>
      this.#logger.warn({ nodeId, field }, 'a newer node says what this version does not know');
    const onHello = (hello: Hello): void => this.#onHello(socket, caller, hello, open);
    awaitHello(socket, nodeId, onHello, { onRefused, onUnknown });
  }

  #onHello(socket: WebSocket, caller: Caller, hello: Hello, open: (guest: Guest) => void): void {
    const { nodeId, from } = caller;
    const { description, sentAtMs } = hello;
    const node = this.#store.get('nodes', nodeId);
    if (node === undefined) return socket.close(CLOSE.nodeRemoved, 'the node was removed from the cluster');
    const refusal = this.#claims.refusalOf(nodeId, description, from);
    if (refusal !== undefined) {
      this.#refusals.add('address', { nodeId, from, error: refusal });
      return socket.close(CLOSE.forbidden, closeReason(refusal));
    }
    const warning =
      clockWarning(clockOffsetMs(sentAtMs, this.#clock.now())) ??
      this.#claims.nameWarning(nodeId, description.hostname) ??
      skewWarning(description.engineVersion);
    const newer = versionSkew(VERSION, description.engineVersion) === 'newer';
    open({ ...caller, socket, node, description, warning, newer });
  }

  /** As NodeClaims says. False: the session ends, and it is counted like an address that another node has. */
  mayHave(keys: TunnelKeys, session: NodeSession): boolean {
    const { nodeId, from } = session;
    const refusal = this.#claims.keyRefusalOf(nodeId, keys);
    if (refusal === undefined) return true;
    this.#refusals.add('address', { nodeId, from, error: refusal });
    session.close(CLOSE.forbidden, closeReason(refusal));
    return false;
  }

  /** A node's record has changed: sessions of others that say its address, and are not there, end. */
  note(nodeId: string, node: Node | undefined, sessionOf: (nodeId: string) => NodeSession | undefined): void {
    this.#claims.note(nodeId, node);
    for (const rivalId of node === undefined ? [] : this.#claims.rivalsOf(node)) {
      const session = sessionOf(rivalId);
      if (session === undefined || session.from === node?.description?.address) continue;
      const how = `its address is that of node ${nodeId}`;
      this.#refusals.add('address', { nodeId: rivalId, from: session.from, error: how });
      session.close(CLOSE.forbidden, how);
    }
  }
}

/** A node that does not do what is new should be seen. */
function skewWarning(version: string): string | undefined {
  return versionSkew(VERSION, version) === 'older'
    ? `it runs Shoal ${version}, its manager ${VERSION}: what is new is not done there`
    : undefined;
}
