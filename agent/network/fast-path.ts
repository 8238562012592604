/**
 * PURE. The fast path of a sandbox: packets between containers of one network go from the one's device to the tunnel or to the
 * other's device as they come in, past connection tracking, rules and routing, which take a third of a node's new connections
 * and a quarter of the time there and back. nft-fwd of the family netdev does it, as nft(8) has it.
 *
 * What may have been translated must not go there: a container that has sent anything to an address of the network that no
 * container has (a VIP) is noted by the rules themselves, before the packet is translated, and goes the tracked way from then on, in
 * both directions. So a container has a fast path from its device's beginning or never: of a later one it would not be known.
 */
import { address6, gateway6 } from '../../shared/lib/network-ipv6.ts';
import { subnetsOf } from '../../shared/lib/network-subnets.ts';
import type { EndpointAssignment, NetworkAssignment, PeerAssignment } from '../../shared/model/index.ts';
import { type Family, familiesOf, IPV4, IPV6 } from './family.ts';
import { type Chain, chain, type FastWay, type KernelObject, keyOf } from './kernel-object.ts';
import { hasTunnel, type NetworkView, type Self } from './local.ts';
import { SANDBOX_TABLE, TUNNEL, tunnelAddress6 } from './names.ts';

/** Beside the sandbox's other tables. */
export const FAST_TABLE = `netdev ${SANDBOX_TABLE}`;

/** The chain at the tunnel; those at the containers' devices have the devices' names. */
const FROM_TUNNEL = 'tunnel';

/** Of one family: sets, maps and the chain that containers' packets go through. */
interface Names {
  /** Containers that may have translated connections. */
  readonly translated: string;
  /** From a container's address to its device here. */
  readonly here: string;
  /** From a container's address to its node's. */
  readonly there: string;
  readonly chain: string;
}

/** More containers than a node has on a network: it never gets full, since only they are put in. */
const NOTED = 4096;

function namesOf({ ip }: Family): Names {
  const suffix = ip === 'ip' ? '' : '6';
  return {
    translated: `translated${suffix}`,
    here: `here${suffix}`,
    there: `there${suffix}`,
    chain: `out${suffix}`,
  };
}

const SHARED: ReadonlySet<string> = new Set([FROM_TUNNEL, namesOf(IPV4).chain, namesOf(IPV6).chain]);

/**
 * On ingress, where containers are kept apart, and where the network is not Shoal's there is none: rules decide there about every
 * packet.
 */
export function hasFastPath(network: NetworkAssignment, self: Self): boolean {
  const { ingress, isolated, outside } = network;
  return self.fastPath === true && !ingress && isolated !== true && outside === undefined;
}

/** Commands that leave nothing behind and are refused where the kernel has no fast path. */
export function fastPathProbe(name: string): string {
  const table = `netdev ${name}-fast`;
  return [
    `add table ${table}`,
    `add chain ${table} probe { type filter hook ingress device "lo" priority filter; policy accept; }`,
    `add rule ${table} probe ip ttl 0 fwd ip to ip daddr device "lo"`,
    `delete table ${table}`,
  ].join('\n');
}

/** What does not hang on one endpoint or container. */
export function fastPathBase(view: NetworkView): KernelObject[] {
  const { network, self } = view;
  if (!hasFastPath(network, self)) return [];
  const families = familiesOf(network);
  const arriving = families.map(toHere);
  const hook = `type filter hook ingress device "${TUNNEL}" priority filter`;
  return [
    { type: 'table', table: FAST_TABLE },
    ...families.flatMap((family) => familyObjects(family, view)),
    ...(hasTunnel(network, self) ? [ofTunnel(chain(FAST_TABLE, FROM_TUNNEL, arriving, hook))] : []),
  ];
}

function familyObjects(family: Family, view: NetworkView): KernelObject[] {
  const { type } = family;
  const { translated, here, there, chain: name } = namesOf(family);
  const table = FAST_TABLE;
  return [
    { type: 'set', table, name: translated, of: `${type}; size ${NOTED}; flags dynamic` },
    { type: 'set', table, name: here, of: `${type} : iface_index` },
    { type: 'set', table, name: there, of: `${type} : ${type}` },
    ofTunnel(chain(table, name, leavingRules(family, view))),
  ];
}

/** Its rules name the tunnel's device, which they know by a number. */
function ofTunnel(one: Chain): Chain {
  return { ...one, dev: TUNNEL };
}

/**
 * From a container of this node, by its own address. In as few rules as can be: each asks for the protocol anew. What has no hop
 * left is routed, which tells the sender.
 */
function leavingRules(family: Family, { network, self }: NetworkView): string[] {
  const { ip } = family;
  const { translated, there } = namesOf(family);
  const { gateways, subnets } = rangesOf(family, network);
  const toThere = `${ip} saddr != @${translated} ${hops(family)} > 1 fwd ${ip} to ${ip} daddr map @${there} device "${TUNNEL}"`;
  return [
    ...(hasTunnel(network, self) ? [toThere] : []),
    `${ip} saddr @${translated} accept`,
    toHere(family),
    `${ip} daddr @${translated} accept`,
    `${hops(family)} < 2 accept`,
    `${ip} daddr { ${gateways.join(', ')} } accept`,
    `${ip} daddr { ${subnets.join(', ')} } add @${translated} { ${ip} saddr }`,
  ];
}

/** To a container of this node, by its address. */
function toHere(family: Family): string {
  const { ip } = family;
  const { translated, here } = namesOf(family);
  return `${ip} daddr != @${translated} ${hops(family)} > 1 fwd ${ip} to ${ip} daddr device ${ip} daddr map @${here}`;
}

function hops({ ip }: Family): string {
  return `${ip} ${ip === 'ip' ? 'ttl' : 'hoplimit'}`;
}

function rangesOf({ ip }: Family, network: NetworkAssignment): { gateways: string[]; subnets: string[] } {
  if (ip === 'ip6') return { gateways: [gateway6(network) ?? ''], subnets: [network.subnet6 ?? ''] };
  const all = subnetsOf(network);
  return { gateways: all.map(({ gateway }) => gateway), subnets: all.map(({ subnet }) => subnet) };
}

/** The node to which packets for an endpoint are sent. */
export function fastEndpoint(
  { network, self }: NetworkView,
  peer: PeerAssignment,
  { address }: EndpointAssignment,
): KernelObject[] {
  if (!hasFastPath(network, self)) return [];
  const own = address6(network, address);
  const element = (family: Family, key: string, value: string): KernelObject => ({
    type: 'element',
    table: FAST_TABLE,
    set: namesOf(family).there,
    key,
    value,
  });
  return [
    element(IPV4, address, peer.address),
    ...(own === undefined ? [] : [element(IPV6, own, tunnelAddress6(peer.index))]),
  ];
}

/** Of one container. */
export function fastPathObject(dev: string, network: NetworkAssignment, address: string): KernelObject {
  return { type: 'fast-path', dev, table: SANDBOX_TABLE, ways: waysOf(network, address) };
}

function waysOf(network: NetworkAssignment, address: string): FastWay[] {
  const own = address6(network, address);
  return [wayOf(IPV4, address), ...(own === undefined ? [] : [wayOf(IPV6, own)])];
}

/** Keys of what its device leaves behind when it goes. */
export function fastPathLeft(network: NetworkAssignment, address: string): string[] {
  return waysOf(network, address).flatMap(({ here, translated, address: key }) =>
    [here, translated].map((set) => keyOf({ type: 'element', table: FAST_TABLE, set, key })),
  );
}

function wayOf(family: Family, address: string): FastWay {
  const { chain: name, here, translated } = namesOf(family);
  return { address, chain: name, here, translated };
}

/** What the table of the fast path holds beside what all containers share, as it is read back. */
export interface FastParts {
  /** Names of its chains. */
  readonly chains: readonly string[];
  /** Elements of its sets and maps. */
  readonly elements: readonly { readonly set: string; readonly key: string; readonly value?: string }[];
}

/** Those of the containers; and what has none, to be taken away. Elements of the endpoints are others' to look at. */
export function observeFastPaths({ chains, elements }: FastParts): KernelObject[] {
  const devices = new Map<string, FastWay[]>();
  for (const name of chains) if (!SHARED.has(name)) devices.set(name, []);
  const families = [IPV4, IPV6].map((family) => ({ family, names: namesOf(family) }));
  const known = new Set<string>();
  for (const { set, key, value = '' } of elements) {
    const one = families.find(({ names }) => names.here === set);
    const ways = devices.get(value);
    if (one === undefined || ways === undefined) continue;
    ways.push(wayOf(one.family, key));
    known.add(key);
  }
  const leftover = ({ set, key }: FastParts['elements'][number]): boolean =>
    families.some(({ names }) => names.here === set || names.translated === set) && !known.has(key);
  return [
    ...[...devices].map(
      ([dev, ways]): KernelObject => ({ type: 'fast-path', dev, table: SANDBOX_TABLE, ways }),
    ),
    ...elements
      .filter(leftover)
      .map((element): KernelObject => ({ type: 'element', table: FAST_TABLE, ...element })),
  ];
}

/** True for a chain that all containers share. */
export function isSharedChain(name: string): boolean {
  return SHARED.has(name);
}

/** True for a set that follows the endpoints. */
export function isOfEndpoints(set: string): boolean {
  return [IPV4, IPV6].some((family) => namesOf(family).there === set);
}
