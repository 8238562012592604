/** WebSockets from one manager to another: mutual TLS, and an end when nobody is there or nothing is to be said. */
import { Agent } from 'node:https';
import { WebSocket } from 'ws';
import { managerIdentityCheck } from '../../shared/wire/manager-tls.ts';

const HANDSHAKE_TIMEOUT_MS = 3_000;
/** A manager that does not answer so many pings is gone, whatever TCP believes. */
const PING_MS = 2_000;
const LOST_PINGS = 3;
/** A link that nothing uses is closed after so many pings. */
const IDLE_PINGS = 15;
const MAX_FRAME_BYTES = 32 * 1024 * 1024;

export interface ManagerTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** Whether that is the id of a manager of the cluster, now. */
  readonly isManager: (id: string) => boolean;
}

/** Begins to connect. `busy` says whether the link is in use; asked now and then. */
export function connectManager(
  address: string,
  path: string,
  { ca, cert, key, isManager }: ManagerTls,
  busy: () => boolean,
): WebSocket {
  let peerId = '';
  const checkServerIdentity = managerIdentityCheck(cert, (id) => isManager((peerId = id)));
  const agent = new Agent({
    ca,
    cert,
    key,
    checkServerIdentity,
    minVersion: 'TLSv1.3',
    maxCachedSessions: 0,
  });
  const socket = new WebSocket(`wss://${address}${path}`, {
    agent,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
  });
  let silent = 0;
  let idle = 0;
  socket.on('pong', () => {
    silent = 0;
  });
  const beating = setInterval(() => {
    silent += 1;
    idle = busy() ? 0 : idle + 1;
    if (silent > LOST_PINGS || (peerId !== '' && !isManager(peerId))) socket.terminate();
    else if (idle > IDLE_PINGS) socket.close();
    else if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, PING_MS);
  socket.on('close', () => clearInterval(beating));
  return socket;
}
