/** UDP in a lab: sockets anywhere, and clients that keep their port. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import { openSocket } from '../../agent/native/network.ts';
import type { NetworkLab } from './network-lab.ts';
import { id } from './network-world.ts';

const DEADLINE_MS = 10_000;

/** A UDP socket in the namespace at this path; port 0: any. */
export async function datagrams(netns: string, address: string, port: number): Promise<dgram.Socket> {
  const socket = dgram.createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const fd = await openSocket(netns, 'datagram', address, port);
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  return socket;
}

/** Both web tasks answer on port 53 with who they are and what they heard. */
export async function webAnswers(net: NetworkLab, t: { teardown(undo: () => void): void }): Promise<void> {
  for (const name of ['w1', 'w2']) {
    for (const address of ['0.0.0.0', '::']) {
      const server = await datagrams(net.containerNs(id(name)), address, 53);
      server.on('message', (text, from) => server.send(`${name} heard ${text}`, from.port, from.address));
      t.teardown(() => server.close());
    }
  }
}

/** From where a client speaks, and to whom. */
interface Way {
  readonly netns: string;
  readonly source: string;
  readonly to: string;
  readonly port: number;
}

/** By the mesh, through the host with this address. */
export function fromOutside(net: NetworkLab, host: string): Way {
  const source = isIPv6(host) ? '2001:db8:9::9' : '203.0.113.9';
  return { netns: `/run/netns/${net.ns('out')}`, source, to: host, port: 5353 };
}

/** From a container to a virtual address. */
export function fromTask(net: NetworkLab, task: string, vip: string): Way {
  return { netns: net.containerNs(id(task)), source: isIPv6(vip) ? '::' : '0.0.0.0', to: vip, port: 53 };
}

/** `nft list ruleset` without what the kernel has noted of flows and of who asked for names. */
export function withoutSeen(ruleset: string): string {
  return ruleset.replaceAll(/(set (?:udp_seen|asking) \{[^={}]*?)\s*elements = \{[^}]*\}/g, '$1');
}

/** `nft list ruleset` without what is of single containers' fast paths: one that has lost it stays without. */
export function withoutFastPaths(ruleset: string): string {
  return ruleset
    .replaceAll(/(map here6? \{[^={}]*?)\s*elements = \{[^}]*\}/g, '$1')
    .replaceAll(/(set translated6? \{[^={}]*?)\s*elements = \{[^}]*\}/g, '$1')
    .replaceAll(/\n\tchain c\w+x+ \{[^}]*\}\n/g, '');
}

interface Conversation {
  say(text: string): Promise<string>;
  close(): void;
}

/** A UDP client that keeps its port, led to this web task. */
export async function converse(task: string, { netns, source, to, port }: Way): Promise<Conversation> {
  for (;;) {
    const client = await datagrams(netns, source, 0);
    const say = async (text: string): Promise<string> => {
      const answered = once(client, 'message', { signal: AbortSignal.timeout(DEADLINE_MS) });
      client.send(text, port, to);
      const [answer, from] = (await answered.catch(() => [])) as [Buffer?, dgram.RemoteInfo?];
      if (answer === undefined || from === undefined) return `no answer to ${text}`;
      return from.port === port && from.address === to ? answer.toString() : `from ${from.port}`;
    };
    if ((await say('hello')) === `${task} heard hello`) return { say, close: () => client.close() };
    client.close();
  }
}
