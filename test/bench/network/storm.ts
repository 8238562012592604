/** Very many changes at once, and meanwhile somebody asks the sandbox's name server again and again. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import dnsPacket from 'dns-packet';
import { openSocket } from '../../../agent/native/network.ts';

/** So many come with one turn of the loop, as from a session. */
const A_TURN = 10;
const DEADLINE_MS = 60_000;

export interface Storm {
  /** Until all are in force. */
  readonly tookMs: number;
  /** The name server's longest silence: whole turns of the loop are in it. */
  readonly answerMs: number;
}

/** `change` begins one. `service` is known to the name server at this address. */
export async function storm(
  changes: number,
  change: (number: number) => Promise<void>,
  netns: string,
  server: string,
  service: string,
): Promise<Storm> {
  const socket = dgram.createSocket('udp4');
  socket.bind({ fd: await openSocket(netns, 'datagram', '0.0.0.0', 0) });
  // The first question has the names put in order; that is of once, not of the storm.
  await longestAnswer(socket, server, service, AbortSignal.timeout(1));
  const ended = new AbortController();
  const asking = longestAnswer(socket, server, service, ended.signal);
  const startedMs = performance.now();
  const begun: Promise<void>[] = [];
  for (let i = 0; i < changes; i += 1) {
    begun.push(change(i));
    if (i % A_TURN === 0) await setImmediate();
  }
  await Promise.all(begun);
  const tookMs = performance.now() - startedMs;
  ended.abort();
  const answerMs = await asking;
  socket.close();
  return { tookMs, answerMs };
}

async function longestAnswer(
  socket: dgram.Socket,
  server: string,
  name: string,
  ended: AbortSignal,
): Promise<number> {
  const questions = [{ type: 'A' as const, name }];
  let longestMs = 0;
  for (let id = 1; !ended.aborted; id += 1) {
    const startedMs = performance.now();
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(DEADLINE_MS) });
    socket.send(dnsPacket.encode({ type: 'query', id: id % 65_536, questions }), 53, server);
    const [message] = (await answer) as [Buffer];
    if (dnsPacket.decode(message).answers?.length !== 1) throw new Error(`${name} is not known`);
    longestMs = Math.max(longestMs, performance.now() - startedMs);
  }
  return longestMs;
}
