/** What an agent says of the machine that it runs on. */
import { createSocket } from 'node:dgram';
import { availableParallelism, machine, totalmem } from 'node:os';
import { isIP } from 'node:net';
import { lookup } from 'node:dns/promises';
import type { Labels, NodeDescription } from '../shared/model/index.ts';
import { VERSION } from '../shared/lib/version.ts';

export function describeMachine(hostname: string, address: string, engineLabels: Labels): NodeDescription {
  return {
    hostname,
    address,
    engineLabels,
    os: 'linux',
    arch: machine(),
    nanoCpus: availableParallelism() * 1_000_000_000,
    memoryBytes: totalmem(),
    engineVersion: VERSION,
  };
}

/** The local address from which this machine reaches `target` (host:port). Connecting a UDP socket sends nothing. */
export async function sourceAddress(target: string): Promise<string> {
  const host = target.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  const address = isIP(host) === 0 ? (await lookup(host)).address : host;
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.connect(9, address, resolve);
    });
    return socket.address().address;
  } finally {
    socket.close();
  }
}
