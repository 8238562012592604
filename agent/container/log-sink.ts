/** Where messages go that are sent on: unix datagrams, UDP, and streams. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { delay } from '../../shared/lib/abort.ts';
import type { SyslogAddress } from '../../shared/lib/log-forward.ts';
import { sendDatagrams } from '../native/datagram.ts';

/** A full queue is looked at again so soon, and later when nothing has been taken from it: it may hold but ten messages. */
const FULL_MS = 1;
const MAX_FULL_MS = 50;
const CONNECT_MS = 10_000;
const NEWLINE = Buffer.from('\n');

export interface LogSink {
  /** Resolves with how many of the messages are done with: fewer than all when it then fails. */
  send(messages: readonly Buffer[], signal: AbortSignal): Promise<{ done: number; error?: unknown }>;
  close(): void;
}

export function syslogSink(address: SyslogAddress): LogSink {
  switch (address.transport) {
    case 'unix':
      return new LocalSink(address.path);
    case 'udp':
      return new UdpSink(address.host, address.port);
    case 'tcp':
      return new StreamSink({ host: address.host, port: address.port });
  }
}

/** A unix socket: of datagrams, or of streams, as the one who listens has it. */
export class LocalSink implements LogSink {
  readonly #path: string;
  #stream: StreamSink | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async send(messages: readonly Buffer[], signal: AbortSignal): Promise<{ done: number; error?: unknown }> {
    let [done, fullMs] = [0, FULL_MS];
    while (done < messages.length) {
      const { sent, error } = await sendDatagrams(this.#path, messages.slice(done));
      done += sent;
      if (error === undefined) continue;
      if (error.code === 'EPROTOTYPE') return this.#streaming(messages, signal);
      // One that is too large for the socket would be so for ever.
      if (error.code === 'EMSGSIZE') done += 1;
      else if (error.code === 'EAGAIN') {
        fullMs = sent > 0 ? FULL_MS : Math.min(MAX_FULL_MS, 2 * fullMs);
        await delay(fullMs, signal);
      } else return { done, error };
    }
    return { done };
  }

  close(): void {
    this.#stream?.close();
  }

  #streaming(messages: readonly Buffer[], signal: AbortSignal): ReturnType<LogSink['send']> {
    this.#stream ??= new StreamSink({ path: this.#path });
    return this.#stream.send(messages, signal);
  }
}

class UdpSink implements LogSink {
  readonly #host: string;
  readonly #port: number;
  #socket: { readonly socket: UdpSocket; readonly address: string } | undefined;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  async send(messages: readonly Buffer[], signal: AbortSignal): Promise<{ done: number; error?: unknown }> {
    let done = 0;
    try {
      const { socket, address } = await this.#open();
      for (const message of messages) {
        signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          socket.send(message, this.#port, address, (error) => (error === null ? resolve() : reject(error)));
        });
        done += 1;
      }
      return { done };
    } catch (error) {
      // The next one looks the name up again.
      this.close();
      return { done, error };
    }
  }

  close(): void {
    this.#socket?.socket.close();
    this.#socket = undefined;
  }

  async #open() {
    if (this.#socket !== undefined) return this.#socket;
    const { address, family } = await lookup(this.#host);
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    socket.on('error', () => undefined);
    socket.unref();
    this.#socket = { socket, address };
    return this.#socket;
  }
}

/** A line a message. What is written when the other end has gone and has not said so is lost: syslog acknowledges nothing. */
class StreamSink implements LogSink {
  readonly #to: NetConnectOpts;
  #socket: Socket | undefined;

  constructor(to: NetConnectOpts) {
    this.#to = to;
  }

  async send(messages: readonly Buffer[], signal: AbortSignal): Promise<{ done: number; error?: unknown }> {
    try {
      const socket = await this.#open(signal);
      const data = Buffer.concat(messages.flatMap((message) => [message, NEWLINE]));
      await settled(socket, signal, (done) => socket.write(data, done));
      return { done: messages.length };
    } catch (error) {
      this.close();
      return { done: 0, error };
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #open(signal: AbortSignal): Promise<Socket> {
    if (this.#socket !== undefined && !this.#socket.destroyed) return this.#socket;
    const socket = connect(this.#to);
    this.#socket = socket;
    socket.on('error', () => undefined);
    // One that says goodbye gets nothing more, and nothing that it says is read.
    socket.on('end', () => socket.destroy());
    socket.resume();
    const limited = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
    await settled(socket, limited, (done) => socket.once('connect', () => done()));
    return socket;
  }
}

/** Resolves when the work calls back; rejects when the socket fails or closes, or the signal aborts. */
function settled(
  socket: Socket,
  signal: AbortSignal,
  work: (done: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => (): void => {
      socket.off('error', onError);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      act();
    };
    const onError = (error: Error): void => settle(() => reject(error))();
    const onClose = settle(() => reject(new Error('the connection was closed')));
    const onAbort = settle(() => reject(signal.reason as Error));
    if (signal.aborted) return reject(signal.reason as Error);
    socket.once('error', onError);
    socket.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    work((error) => (error ? onError(error) : settle(resolve)()));
  });
}
