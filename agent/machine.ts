/** What an agent says of the machine that it runs on. */
import { createSocket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { availableParallelism, machine, totalmem } from 'node:os';
import { isIP } from 'node:net';
import { lookup } from 'node:dns/promises';
import type { GenericResource, Labels, NodeDescription } from '../shared/model/index.ts';
import { parseRoutes, parseRoutes6 } from './routes.ts';
import { readHostResolvers } from './network/resolv-conf.ts';
import { newSpecKeys } from '../shared/wire/spec-keys.ts';
import { canHaveIpv6 } from './network/underlay.ts';
import { VERSION } from '../shared/lib/version.ts';

export async function describeMachine(
  hostname: string,
  address: string,
  engineLabels: Labels,
  genericResources: readonly GenericResource[] = [],
): Promise<NodeDescription> {
  return {
    hostname,
    address,
    engineLabels,
    os: 'linux',
    arch: machine(),
    nanoCpus: availableParallelism() * 1_000_000_000,
    memoryBytes: totalmem(),
    engineVersion: VERSION,
    localSubnets: await localSubnets(),
    knows: newSpecKeys(),
    ipv6: await canHaveIpv6(address),
    ...(genericResources.length === 0 ? {} : { genericResources }),
  };
}

/** Where this machine gets without a default route, and its name servers. Overlays must not cover any of it. */
async function localSubnets(): Promise<string[]> {
  const routes = parseRoutes(await readFile('/proc/net/route', 'utf8'));
  // A kernel without IPv6 has no such file.
  const routes6 = parseRoutes6(await readFile('/proc/net/ipv6_route', 'utf8').catch(() => ''));
  const resolvers = readHostResolvers().filter(
    (resolver) => isIP(resolver) === 4 && !resolver.startsWith('127.'),
  );
  return [...new Set([...routes, ...routes6, ...resolvers.map((resolver) => `${resolver}/32`)])].toSorted();
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
