/** The name server of one sandbox: two sockets inside it, served by this process. */
import dgram from 'node:dgram';
import net from 'node:net';
import type { Logger } from '../../shared/model/options.ts';
import { openSocket } from '../native/network.ts';
import { TcpFrames, tcpFrame } from './dns-frames.ts';

const PORT = 53;
const IDLE_MS = 10_000;
/** Containers are not trusted: one that opens all of them is told to wait by its own sandbox only. */
const MAX_CONNECTIONS = 256;
/** Of one container, so that others of its network have some too. */
const MAX_OF_ONE = 32;
/** Answers that a client leaves unread. */
const MAX_UNREAD_BYTES = 256 * 1024;

/** Answers one message; undefined: not at all. */
export type DnsHandler = (message: Buffer, from: string, overUdp: boolean) => Promise<Buffer | undefined>;

export class DnsServer {
  readonly #datagrams: dgram.Socket;
  readonly #connections: net.Server;
  readonly #open = new Set<net.Socket>();

  private constructor(datagrams: dgram.Socket, connections: net.Server) {
    this.#datagrams = datagrams;
    this.#connections = connections;
  }

  /** Resolves when both sockets are bound to `address` in the namespace. */
  static async listen(
    netns: string,
    address: string,
    handler: DnsHandler,
    logger: Logger,
  ): Promise<DnsServer> {
    const [udp, tcp] = await Promise.all([
      openSocket(netns, 'datagram', address, PORT),
      openSocket(netns, 'stream', address, PORT),
    ]);
    const server = new DnsServer(dgram.createSocket('udp4'), net.createServer());
    server.#serveDatagrams(handler, logger);
    server.#serveConnections(handler, logger);
    await Promise.all([
      new Promise<void>((resolve) => server.#datagrams.bind({ fd: udp }, resolve)),
      new Promise<void>((resolve) => server.#connections.listen({ fd: tcp }, resolve)),
    ]);
    return server;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.#datagrams.close(() => resolve())),
      new Promise<void>((resolve) => this.#connections.close(() => resolve())),
    ]);
  }

  #serveDatagrams(handler: DnsHandler, logger: Logger): void {
    const socket = this.#datagrams;
    socket.on('error', (error) => logger.warn({ error: error.message }, 'dns socket'));
    socket.on('message', (message, from) => {
      // Who can forge packets can ask from a port that nothing can be sent to.
      if (from.port === 0) return;
      handler(message, from.address, true)
        // The container may have ended meanwhile, or this server.
        .then((response) => response && socket.send(response, from.port, from.address, () => undefined))
        .catch((error: unknown) => logger.warn({ error: String(error) }, 'dns question'));
    });
  }

  #serveConnections(handler: DnsHandler, logger: Logger): void {
    this.#connections.maxConnections = MAX_CONNECTIONS;
    this.#connections.on('error', (error) => logger.warn({ error: error.message }, 'dns socket'));
    this.#connections.on('connection', (socket) => {
      const frames = new TcpFrames();
      const from = socket.remoteAddress ?? '';
      const others = [...this.#open].filter(({ remoteAddress }) => remoteAddress === from);
      socket.on('error', () => socket.destroy());
      if (others.length >= MAX_OF_ONE) return void socket.destroy();
      this.#open.add(socket);
      socket.setTimeout(IDLE_MS, () => socket.destroy());
      socket.on('close', () => this.#open.delete(socket));
      socket.on('data', (chunk) => {
        for (const message of frames.push(chunk)) {
          handler(message, from, false)
            .then((response) => response && answerOn(socket, response))
            .catch((error: unknown) => logger.warn({ error: String(error) }, 'dns question'));
        }
      });
    });
  }
}

/** Who asks and asks, and reads no answers, is cut off before they fill the agent's memory. */
function answerOn(socket: net.Socket, response: Buffer): void {
  if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
  else socket.write(tcpFrame(response));
}
