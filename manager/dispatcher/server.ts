/**
 * The TCP port for nodes: TLS 1.3, GET /ca and POST /join for nodes that have no certificate yet, and the session's
 * WebSocket for those that have. Who has shown neither is bounded in all he can do: guarded-port.ts.
 */
import { constants } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  AppError,
  describeError,
  ForbiddenError,
  HTTP_STATUS,
  InvalidError,
  UnavailableError,
} from '../../shared/errors/index.ts';
import type { Logger } from '../../shared/model/index.ts';
import { parseValue } from '../../shared/wire/frames.ts';
import { type JoinRequest, joinRequestSchema, type JoinResponse } from '../../shared/wire/join.ts';
import type { Authority } from '../ca/authority.ts';
import { heldCertificate } from '../ca/held-certificate.ts';
import type { HeldCertificate } from '../ca/renewal.ts';
import type { ManagerDoor } from '../membership/door.ts';
import type { Admission } from './admission.ts';
import { GuardedPort, PORT_OPTIONS } from './guarded-port.ts';
import type { ManagerTls } from './manager-certificate.ts';
import type { Refusals } from './refusals.ts';
import type { ReleaseShelf } from './release-shelf.ts';
import { plainAddress, Strangers } from './strangers.ts';

const MAX_JOIN_BYTES = 64 * 1024;
/** A list of containers with their environments is the largest thing a node says at once. */
const MAX_FRAME_BYTES = 32 * 1024 * 1024;
/** Nodes that are let wait for their turn when all come at once, after a restart; the kernel's somaxconn bounds it. */
const BACKLOG = 4096;
/** How long a new node waits for its record to be written. */
const JOIN_TIMEOUT_MS = 10_000;
/** A node has one session; another may be opening while the one before it ends. */
const MAX_SOCKETS_OF_NODE = 8;

/** To speak to a node that has its session here, to tell what tasks use, to ask what was withdrawn. */
export type ManagerWants =
  | { readonly kind: 'node'; readonly nodeId: string }
  | { readonly kind: 'usage' | 'withdrawals' };

/** What another manager wants, by the path; undefined for one that is not for managers. */
function wantOf(path: string | undefined): ManagerWants | undefined {
  if (path === '/usage') return { kind: 'usage' };
  if (path === '/withdrawals') return { kind: 'withdrawals' };
  const nodeId = /^\/relay\/([0-9a-z]+)$/.exec(path ?? '')?.[1];
  return nodeId === undefined ? undefined : { kind: 'node', nodeId };
}

export interface CertifiedNode {
  readonly nodeId: string;
  readonly certificate: HeldCertificate;
  /** The address that it comes from. */
  readonly from: string;
}

export interface ServerOptions {
  /** As it is now. */
  readonly authority: () => Authority;
  /** The first; `use` gives others. */
  readonly tls: ManagerTls;
  readonly listen: { readonly host: string; readonly port: number };
  readonly admission: Admission;
  /** Lets new managers in; absent: none can join. */
  readonly door?: ManagerDoor | undefined;
  /** What new machines install; absent: nothing. */
  readonly release?: ReleaseShelf | undefined;
  /** A node with a valid certificate has opened its WebSocket; it has not said hello. */
  readonly onSocket: (socket: WebSocket, peer: CertifiedNode) => void;
  /** What the node is known to trust. */
  readonly trustOf: (nodeId: string) => readonly string[] | undefined;
  /** Another manager has opened a socket; absent: none may. */
  readonly onManager?: (socket: WebSocket, managerId: string, wants: ManagerWants) => void;
  readonly refusals: Refusals;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** What serves one request. */
interface Serving extends ServerOptions {
  readonly port: GuardedPort;
  /** Open ones by node. */
  readonly socketsOf: Map<string, number>;
}

export interface RunningServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Connections that have not shown who they are. */
  readonly strangers: () => number;
  /** For connections from now on. */
  use(tls: ManagerTls): void;
  close(): Promise<void>;
}

/** Rejects when the address can not be bound. */
export async function startServer(given: ServerOptions): Promise<RunningServer> {
  const strangers = new Strangers();
  const port = new GuardedPort(strangers, given.refusals);
  const options: Serving = { ...given, port, socketsOf: new Map() };
  const server = createServer(
    {
      ...contextOf(options.tls),
      ...PORT_OPTIONS,
      requestCert: true,
      // Nodes without a certificate may fetch the CA and join; /session looks at the certificate itself.
      rejectUnauthorized: false,
    },
    (request, response) => void answer(options, request, response),
  );
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
  });
  server.on('upgrade', (request, socket, head) => upgrade(options, sockets, { request, socket, head }));
  port.guard(server);
  await listen(server, options.listen);
  const address = server.address() as AddressInfo;
  return {
    address: { host: address.address, port: address.port },
    strangers: () => strangers.count,
    use: (tls) => server.setSecureContext(contextOf(tls)),
    close: () => closeAll(server, sockets),
  };
}

function contextOf({ cert, key, ca }: ManagerTls): SecureContextOptions {
  // Sessions are not resumed, since that would skip the look at the certificate: no tickets are made, which cost a
  // quarter of the handshake.
  return { cert, key, ca, minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };
}

function listen(server: Server, at: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...at, backlog: BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function closeAll(server: Server, sockets: WebSocketServer): Promise<void> {
  for (const socket of sockets.clients) socket.terminate();
  sockets.close();
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

async function answer(options: Serving, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const route = `${request.method} ${request.url}`;
    if (route === 'GET /ca') {
      response.writeHead(200, { 'content-type': 'application/x-pem-file' }).end(options.authority().caPem);
    } else if (route === 'POST /join') {
      await answerJoin(options, request, response);
    } else if (options.door !== undefined && FOR_MANAGERS.has(route)) {
      await answerManager(options, options.door, request, response);
    } else if (options.release && (route === 'GET /install.sh' || route === 'GET /release.tar.gz')) {
      await options.release.serve(route === 'GET /install.sh' ? 'install.sh' : 'release.tar.gz', response);
    } else {
      options.refusals.add('http', { from: request.socket.remoteAddress, error: 'no such page' });
      respond(response, 404, { message: 'this port is for nodes: /ca, /join, /session' });
    }
  } catch (error) {
    respond(response, statusOf(error), { message: describeError(error) });
  }
}

const FOR_MANAGERS: ReadonlySet<string> = new Set([
  'POST /managers/enter',
  'POST /managers/data-keys',
  'POST /managers/etcd-roots',
]);

async function answerManager(
  options: Serving,
  door: ManagerDoor,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const peer = certifiedPeer(request.socket as TLSSocket, options);
  if (peer?.role !== 'manager') throw new ForbiddenError("this needs a manager's certificate");
  options.port.of(request.socket)?.proven();
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(JOIN_TIMEOUT_MS)]);
  if (request.url === '/managers/enter') respond(response, 200, await door.enter(peer.id, signal));
  else if (request.url === '/managers/etcd-roots')
    respond(response, 200, { roots: await door.roots(peer.id) });
  else respond(response, 200, { dataKeys: door.keys(peer.id) });
}

/** Who is refused again and again is not listened to for a while. */
async function answerJoin(
  options: Serving,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { port, refusals } = options;
  const stranger = port.of(request.socket);
  const from = request.socket.remoteAddress;
  if (stranger?.mayJoin(performance.now()) === false) {
    refusals.add('join-rate', { from });
    const message = 'too many joins from this address were refused: try again in a minute';
    return respond(response, 429, { message });
  }
  try {
    const body: unknown = JSON.parse(await readBody(request));
    const join = parseValue(joinRequestSchema, body, 'the join request');
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(JOIN_TIMEOUT_MS)]);
    const joined = await admit(options, join, signal);
    stranger?.proven();
    respond(response, 200, joined);
  } catch (error) {
    const status = statusOf(error);
    if (status === 400 || status === 403) {
      stranger?.joinRefused(performance.now());
      refusals.add('join', { from, error: describeError(error) });
    }
    throw error;
  }
}

function admit(options: ServerOptions, join: JoinRequest, signal: AbortSignal): Promise<JoinResponse> {
  if (join.manager === undefined) return options.admission.admit(join, signal);
  if (options.door === undefined) throw new UnavailableError('no manager can join here');
  return options.door.invite(join, signal);
}

function statusOf(error: unknown): number {
  if (error instanceof SyntaxError) return 400;
  if (error instanceof AppError) return HTTP_STATUS[error.code];
  return error instanceof Error && error.name === 'TimeoutError' ? 503 : 500;
}

function respond(response: ServerResponse, status: number, body: object): void {
  // What is left of a body that was too long is not waited for.
  response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
  response.end(JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_JOIN_BYTES) throw new InvalidError(`the request is longer than ${MAX_JOIN_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function upgrade(
  options: Serving,
  sockets: WebSocketServer,
  asked: { request: IncomingMessage; socket: Duplex; head: Buffer },
): void {
  const { request, socket, head } = asked;
  socket.on('error', (error) => options.logger.debug({ error: error.message }, 'socket failed'));
  const tls = request.socket as TLSSocket;
  const peer = certifiedPeer(tls, options);
  const wants = wantOf(request.url);
  const refuse = (status: string, reason: 'certificate' | 'http' | 'sockets'): void => {
    options.refusals.add(reason, { from: tls.remoteAddress, nodeId: peer?.id, status });
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  };
  if (peer === undefined) return refuse(`403 ${refusalOf(tls)}`, 'certificate');
  options.port.of(tls)?.proven();
  const onError = (error: Error): void => {
    const broken = (error as NodeJS.ErrnoException).code?.startsWith('WS_ERR_') === true;
    if (broken) options.refusals.add('frame', { from: tls.remoteAddress, id: peer.id, error: error.message });
    else options.logger.debug({ id: peer.id, error: error.message }, 'session failed');
  };
  if (wants !== undefined && peer.role === 'manager') {
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', onError);
      if (options.onManager === undefined) webSocket.close();
      else options.onManager(webSocket, peer.id, wants);
    });
    return;
  }
  if (request.url !== '/session') return refuse('404 Not Found', 'http');
  const open = options.socketsOf.get(peer.id) ?? 0;
  if (open >= MAX_SOCKETS_OF_NODE) return refuse('429 Too many connections of this node', 'sockets');
  options.socketsOf.set(peer.id, open + 1);
  socket.once('close', () => leave(options.socketsOf, peer.id));
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on('error', onError);
    const from = plainAddress(tls.remoteAddress ?? '');
    options.onSocket(webSocket, { nodeId: peer.id, certificate: peer.certificate, from });
  });
}

function leave(socketsOf: Map<string, number>, nodeId: string): void {
  const left = (socketsOf.get(nodeId) ?? 1) - 1;
  if (left === 0) socketsOf.delete(nodeId);
  else socketsOf.set(nodeId, left);
}

/** In a few words, for the node's own log. */
function refusalOf(socket: TLSSocket): string {
  const code = String(socket.authorizationError ?? '');
  if (code === 'CERT_HAS_EXPIRED') return "the node's certificate has expired by the manager's clock";
  if (code === 'CERT_NOT_YET_VALID') return "the node's certificate is not valid yet by the manager's clock";
  return 'Forbidden';
}

/** Who the peer is by its certificate, if our CA signed it for this cluster and a role of ours. */
function certifiedPeer(
  socket: TLSSocket,
  { authority, trustOf }: ServerOptions,
): { id: string; role: 'worker' | 'manager'; certificate: HeldCertificate } | undefined {
  if (!socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  // An empty object when there is none, whatever the type says.
  if (subject?.O !== authority().clusterId) return undefined;
  if (subject.OU !== 'worker' && subject.OU !== 'manager') return undefined;
  const peer = socket.getPeerX509Certificate();
  if (typeof subject.CN !== 'string' || peer === undefined) return undefined;
  const certificate = heldCertificate(peer, authority(), trustOf(subject.CN));
  // TLS has looked at all this, but for a connection that resumes an older one.
  if (certificate === undefined || Date.parse(peer.validTo) < Date.now()) return undefined;
  return { id: subject.CN, role: subject.OU, certificate };
}
