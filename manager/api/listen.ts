import { execFile } from 'node:child_process';
import { constants } from 'node:crypto';
import { chmod, chown, rm, stat } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { promisify } from 'node:util';
import { ConflictError } from '../../shared/errors/index.ts';
import { type GuardedPort, PORT_OPTIONS } from '../dispatcher/guarded-port.ts';
import { refuseWhatIsNoHttp } from './http/refuse-bytes.ts';
import { serveUpgrade } from './http/upgrade.ts';

/** chown(2): -1 leaves the owner as it is. */
const KEEP_OWNER = 0xffffffff;
/** Requests are answered in milliseconds; a write that waits for etcd's election takes one or two seconds. */
const DRAIN_MS = 3_000;
const DRAIN_LOOK_MS = 20;

export interface UnixOptions {
  /** Name of the group that may use the socket besides root; ignored when the machine has none of this name. */
  readonly group?: string | undefined;
  readonly mode: number;
}

export interface ApiServer {
  readonly server: Server;
  /** Takes no requests any more; resolves when those that are under way are answered, but soon in any case. */
  drain(): Promise<void>;
  /** Stops listening, ends open connections, and resolves when all are gone. */
  close(): Promise<void>;
}

/**
 * Serves on a unix socket. A socket file that nobody answers on (left by a crash) is replaced; one that is answered is
 * a ConflictError. The mode is set before the first byte can be read: until then only the owner may connect.
 */
export async function listenUnix(
  path: string,
  handler: RequestListener,
  options: UnixOptions,
): Promise<ApiServer> {
  await removeStaleSocket(path);
  const server = httpServer(handler);
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } finally {
    process.umask(umask);
  }
  const group = options.group === undefined ? undefined : await groupId(options.group);
  if (group !== undefined) await chown(path, KEEP_OWNER, group);
  await chmod(path, options.mode);
  return { server, drain: () => drainServer(server), close: () => closeServer(server) };
}

// No request timeout: streams of logs and events stay open as long as the client likes.
const SERVER_OPTIONS = { requestTimeout: 0, headersTimeout: 60_000, keepAliveTimeout: 60_000 };

function httpServer(handler: RequestListener): Server {
  return prepared(createServer(SERVER_OPTIONS, handler), handler);
}

export interface TlsApiServer {
  readonly address: { readonly host: string; readonly port: number };
  /** For connections from now on. */
  use(tls: TlsFiles): void;
  /** As that of ApiServer. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** PEM texts. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * Serves over TLS 1.3, within the limits of the port for strangers; port 0 is any that is free. Clients are asked for a certificate, and need none here: the handler looks
 * who it is. Rejects when it can not listen.
 */
export async function listenTls(
  at: { readonly host: string; readonly port: number },
  handler: RequestListener,
  tls: TlsFiles,
  port: GuardedPort,
): Promise<TlsApiServer> {
  const options = { requestCert: true, rejectUnauthorized: false };
  const limits = { ...PORT_OPTIONS, requestTimeout: 0 };
  const server = prepared(createTlsServer({ ...options, ...limits, ...contextOf(tls) }, handler), handler);
  port.guard(server, false);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address() as AddressInfo;
  return {
    address: { host: bound.address, port: bound.port },
    use: (next) => server.setSecureContext(contextOf(next)),
    drain: () => drainServer(server),
    close: () => closeServer(server),
  };
}

function contextOf({ cert, key }: TlsFiles): SecureContextOptions {
  // No tickets: who resumes a session would not show its certificate.
  return { cert, key, minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };
}

function prepared<S extends Server | TlsServer>(server: S, handler: RequestListener): S {
  refuseWhatIsNoHttp(server);
  server.on('upgrade', (req, socket: Socket, head) => serveUpgrade(handler, req, socket, head));
  return server;
}

/**
 * Who connects meanwhile is refused and goes to another manager; so is who has a connection without a request. Streams that
 * go on (events, logs) are cut in the end.
 */
async function drainServer(server: Server | TlsServer): Promise<void> {
  server.prependListener('request', (_request, response) => response.setHeader('Connection', 'close'));
  server.close();
  const end = performance.now() + DRAIN_MS;
  while (performance.now() < end && (await connectionsOf(server)) > 0) {
    server.closeIdleConnections();
    await new Promise((resolve) => setTimeout(resolve, DRAIN_LOOK_MS));
  }
}

function connectionsOf(server: Server | TlsServer): Promise<number> {
  return new Promise((resolve) =>
    server.getConnections((error, count) => resolve(error === null ? count : 0)),
  );
}

async function closeServer(server: Server | TlsServer): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    // The callback of one that is drained says that it is closed already.
    server.close(() => resolve());
  });
  server.closeAllConnections();
  await closed;
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new ConflictError(`${path} exists and is no socket`);
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (alive) throw new ConflictError(`another process answers on ${path}`);
  await rm(path, { force: true });
}

/** Number of a group by name, from the system's databases (getent(1)); undefined when there is none. */
async function groupId(name: string): Promise<number | undefined> {
  try {
    const { stdout } = await promisify(execFile)('getent', ['group', '--', name]);
    const id = Number(stdout.split(':')[2]);
    return Number.isInteger(id) ? id : undefined;
  } catch {
    return undefined;
  }
}
