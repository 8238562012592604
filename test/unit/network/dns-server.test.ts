/** What a container does to its name server touches neither the agent nor others. */
import { once } from 'node:events';
import net from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { tcpFrame } from '../../../agent/network/dns-frames.ts';
import { type DnsHandler, DnsServer } from '../../../agent/network/dns-server.ts';
import { silentLogger } from '../../harness/silent-logger.ts';

/** A name server on a loopback address of this machine, with clients from other ones. */
async function served(t: ExecutionContext, address: string, handler: DnsHandler) {
  const server = await DnsServer.listen('/proc/self/ns/net', address, handler, silentLogger);
  const sockets: net.Socket[] = [];
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close();
  });
  return async (localAddress: string): Promise<net.Socket> => {
    const socket = net.connect({ port: 53, host: address, localAddress });
    sockets.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  };
}

const signal = AbortSignal.timeout(60_000);

test('one that asks and reads no answers is cut off, and what can not be answered is passed over', async (t) => {
  let answered = 0;
  let onLast = (): void => undefined;
  const last = new Promise<void>((resolve) => {
    onLast = resolve;
  });
  const connect = await served(t, '127.83.0.1', (message) => {
    answered += 1;
    if (answered === 1_000) onLast();
    // more than a message can be
    return Promise.resolve(Buffer.alloc(message.length > 20 ? 70_000 : 60_000));
  });
  const greedy = await connect('127.83.0.2');
  greedy.pause();
  const closed = once(greedy, 'close', { signal });
  // What the sockets hold takes some megabytes.
  const questions = Buffer.concat(Array.from({ length: 1_000 }, () => tcpFrame(Buffer.alloc(12))));
  greedy.write(questions);
  await last;
  greedy.resume();
  await closed;
  t.true(greedy.bytesRead < 1_000 * 60_000, 'the rest was not kept for it');

  const other = await connect('127.83.0.3');
  other.write(tcpFrame(Buffer.alloc(30)));
  other.write(tcpFrame(Buffer.alloc(12)));
  const [first] = (await once(other, 'data', { signal })) as [Buffer];
  t.is(first.readUInt16BE(0), 60_000, 'the second is answered');
});

test('one container can not take all connections', async (t) => {
  const connect = await served(t, '127.83.0.4', () => Promise.resolve(Buffer.alloc(12)));
  const greedy = await Promise.all(Array.from({ length: 40 }, () => connect('127.83.0.5')));
  const isOpen = (socket: net.Socket): Promise<boolean> =>
    new Promise((resolve) => {
      socket.once('data', () => resolve(true));
      socket.once('close', () => resolve(false));
      if (socket.destroyed) resolve(false);
      socket.write(tcpFrame(Buffer.alloc(12)));
    });
  const open = await Promise.all(greedy.map((socket) => isOpen(socket)));
  t.is(open.filter(Boolean).length, 32);
  t.true(await isOpen(await connect('127.83.0.6')), 'another has its own');
  for (const socket of greedy) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.true(await isOpen(await connect('127.83.0.5')), 'until the others are closed');
});
