/** Asks name servers that are not Shoal's, from the host's own namespace or a container's. Messages pass as they are, but for their id. */
import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import { openSocket } from '../native/network.ts';
import { TcpFrames, tcpFrame } from './dns-frames.ts';

const ROUNDS = 2;
/** How servers are asked. */
export interface Patience {
  readonly timeoutMs: number;
  readonly port: number;
  /** The namespace from which they are asked. Absent: the host's own. */
  readonly netns?: string;
}
export const PATIENCE: Patience = { timeoutMs: 2_000, port: 53 };

/** The first answer of any server, asked in order, twice around; undefined when none answers. */
export async function forward(
  raw: Buffer,
  servers: readonly string[],
  overUdp: boolean,
  signal: AbortSignal,
  { timeoutMs, port, netns }: Patience = PATIENCE,
): Promise<Buffer | undefined> {
  const ask = overUdp ? askByUdp : askByTcp;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const server of servers) {
      if (signal.aborted) return undefined;
      const patience = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      const fd = netns === undefined ? undefined : await socketIn(netns, server, overUdp);
      const response = fd === -1 ? undefined : await ask(raw, server, port, patience, fd);
      if (response !== undefined) return withId(response, raw.readUInt16BE(0));
    }
  }
  return undefined;
}

/** One to ask this server with; -1 where there can be none, as of IPv6 where it is turned off, or of a container that has ended. */
function socketIn(netns: string, server: string, overUdp: boolean): Promise<number> {
  const any = net.isIPv6(server) ? '::' : '0.0.0.0';
  return openSocket(netns, overUdp ? 'datagram' : 'stream', any, 0).catch(() => -1);
}

/** A copy of the message with another id. */
export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** A socket a question: its random port and id are what makes a forged answer unlikely. */
function askByUdp(
  raw: Buffer,
  server: string,
  port: number,
  signal: AbortSignal,
  fd?: number,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const id = randomInt(65_536);
    const socket = dgram.createSocket(net.isIPv6(server) ? 'udp6' : 'udp4');
    let open = true;
    const finish = (response?: Buffer): void => {
      signal.removeEventListener('abort', onAbort);
      if (open) socket.close();
      open = false;
      resolve(response);
    };
    const onAbort = (): void => finish();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', onAbort);
    socket.on('message', (message) => {
      if (message.length >= 12 && message.readUInt16BE(0) === id) finish(message);
    });
    // Connected, so that only the server's own answers arrive, and its refusal is heard at once.
    const send = (failure?: Error): void => {
      // No way there, as to an IPv6 address from a host that has none: the type says nothing of this argument.
      if (failure !== undefined || !open || signal.aborted) finish();
      else socket.send(withId(raw, id));
    };
    if (fd === undefined) socket.connect(port, server, send);
    else socket.bind({ fd }, () => (open && !signal.aborted ? socket.connect(port, server, send) : finish()));
  });
}

function askByTcp(
  raw: Buffer,
  server: string,
  port: number,
  signal: AbortSignal,
  fd?: number,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const id = randomInt(65_536);
    const frames = new TcpFrames();
    // It reads only once it is connected.
    const adopted = fd === undefined ? {} : { fd, pauseOnCreate: true };
    const socket = new net.Socket({ ...adopted, signal, readable: true, writable: true });
    const finish = (response?: Buffer): void => {
      resolve(response);
      socket.destroy();
    };
    socket.on('error', () => finish());
    socket.on('close', () => finish());
    socket.on('connect', () => {
      socket.resume();
      socket.write(tcpFrame(withId(raw, id)));
    });
    socket.on('data', (chunk) => {
      const response = frames
        .push(chunk)
        .find((message) => message.length >= 12 && message.readUInt16BE(0) === id);
      if (response !== undefined) finish(response);
    });
    // One that is given up already would be opened anew by that, here.
    if (!socket.destroyed) socket.connect({ port, host: server });
  });
}
