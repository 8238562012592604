/**
 * The hosts of a local cluster: network namespaces, each with one cable into a bridge that the machine holds the first
 * address of. The machine routes for them and masquerades, so that a host reaches what the machine reaches.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { UnavailableError } from '../../shared/errors/index.ts';
import { type Cidr, cidrsOverlap, parseCidr } from '../../shared/lib/cidr.ts';
import { run } from './command.ts';
import type { Layout, LocalNode } from './layout.ts';

const routesSchema = z.array(z.object({ dst: z.string().optional() }));

/** Destinations that the machine already routes somewhere, the default route apart. */
async function usedSubnets(signal: AbortSignal): Promise<Cidr[]> {
  const text = await run('ip', ['-j', '-4', 'route', 'show', 'table', 'all'], signal);
  const routes = routesSchema.parse(JSON.parse(text === '' ? '[]' : text));
  return routes.flatMap(({ dst }) => {
    if (dst === undefined || !/^[\d.]+(\/\d+)?$/.test(dst) || dst === '0.0.0.0/0') return [];
    return [parseCidr(dst.includes('/') ? dst : `${dst}/32`)];
  });
}

/**
 * The first three bytes of a /24 that nothing on this machine uses, out of 10.213.0.0/16; where to begin depends on
 * the name, so that clusters started together choose different ones.
 */
export async function chooseSubnet(name: string, signal: AbortSignal): Promise<string> {
  const used = await usedSubnets(signal);
  const start = createHash('sha256').update(name).digest().readUInt8(0);
  for (let step = 0; step < 256; step += 1) {
    const prefix = `10.213.${(start + step) % 256}`;
    const candidate = parseCidr(`${prefix}.0/24`);
    if (!used.some((other) => cidrsOverlap(other, candidate))) return prefix;
  }
  throw new UnavailableError(
    'no /24 of 10.213.0.0/16 is free for the hosts of the cluster: see `ip route show table all`',
  );
}

/** Makes the bridge with the machine's own address on it, and the way out. */
export async function createBridge(layout: Layout, subnet: string, signal: AbortSignal): Promise<void> {
  const commands = [
    `link add ${layout.bridge} type bridge`,
    `addr add ${subnet}.1/24 dev ${layout.bridge}`,
    `link set ${layout.bridge} up`,
  ];
  await run('ip', ['-batch', '-'], signal, { input: commands.join('\n') });
  const rules = `table ip ${layout.nftTable} {
    chain postrouting {
      type nat hook postrouting priority srcnat;
      ip saddr ${subnet}.0/24 ip daddr != ${subnet}.0/24 masquerade
    }
  }`;
  await run('nft', ['-f', '-'], signal, { input: rules });
}

export function cableOf(layout: Layout, node: LocalNode): string {
  return `${layout.cablePrefix}${node.index}`;
}

/** Makes a host: its namespace, its cable, its address and its default route. */
export async function createHost(
  layout: Layout,
  subnet: string,
  node: LocalNode,
  signal: AbortSignal,
): Promise<void> {
  if (node.netns === undefined) return;
  const cable = cableOf(layout, node);
  const outside = [
    `netns add ${node.netns.name}`,
    `link add ${cable} type veth peer name eth0 netns ${node.netns.name}`,
    `link set ${cable} master ${layout.bridge}`,
    `link set ${cable} up`,
  ];
  const inside = [
    'link set lo up',
    `addr add ${node.address}/24 dev eth0`,
    'link set eth0 up',
    `route add default via ${subnet}.1`,
  ];
  await run('ip', ['-batch', '-'], signal, { input: outside.join('\n') });
  await run('ip', ['-n', node.netns.name, '-batch', '-'], signal, { input: inside.join('\n') });
}

/** Pulls a host's cable (or plugs it in again): the others and the manager no longer hear it, nor it them. */
export async function setCable(
  layout: Layout,
  node: LocalNode,
  state: 'up' | 'down',
  signal: AbortSignal,
): Promise<void> {
  await run('ip', ['link', 'set', cableOf(layout, node), state], signal);
}
