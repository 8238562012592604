/** From what the kernel reports to the objects that are Shoal's: the kernel's own and others' are left out. */
import { ASKING } from './dns-limit.ts';
import { FAST_TABLE, isOfEndpoints, isSharedChain, observeFastPaths } from './fast-path.ts';
import { type KernelObject, scopeOf } from './kernel-object.ts';
import { TUNNEL } from './names.ts';
import { SEEN, seenAddresses } from './seen-flows.ts';

/** Sets that the kernel itself fills: what is in them is not compared. */
const NOTED: ReadonlySet<string> = new Set([SEEN, ASKING]);

/** Marks Shoal's routes and rules (SHOAL_RTPROT of the native library). */
const PROTOCOL = 183;

/** What the native library's dump holds. */
export interface NamespaceDump {
  readonly links: readonly {
    readonly name: string;
    readonly up: boolean;
    readonly mtu: number;
    readonly kind?: string;
    readonly mac?: string;
    readonly id?: number;
    readonly port?: number;
    readonly local?: string;
    readonly index?: number;
    /** Index of the device below, and of the bridge or bond that it is part of. */
    readonly below?: number;
    readonly master?: number;
    readonly alias?: string;
    readonly publicKey?: string;
    readonly peers?: readonly {
      readonly publicKey: string;
      readonly address?: string;
      readonly port?: number;
      readonly allowed: readonly string[];
    }[];
  }[];
  readonly addresses: readonly { readonly dev: string; readonly address?: string }[];
  readonly routes: readonly {
    readonly dst: string;
    readonly table: number;
    readonly protocol: number;
    readonly dev?: string;
    readonly via?: string;
    readonly src?: string;
    readonly onlink: boolean;
    readonly local?: true;
    readonly metric?: number;
  }[];
  readonly rules: readonly {
    readonly priority: number;
    readonly table: number;
    readonly protocol: number;
    readonly fwmark?: number;
    readonly from?: string;
    readonly ipv6?: true;
  }[];
  readonly neighbours: readonly { readonly dev: string; readonly address: string; readonly mac?: string }[];
  readonly fdb: readonly { readonly dev: string; readonly dst: string; readonly mac?: string }[];
  readonly rates: readonly { readonly dev: string; readonly bytesPerSecond: number }[];
  readonly sysctls: Readonly<Record<string, string>>;
}

/** `nft -j list table` (libnftables-json(5)), as far as it is read. */
export interface TableDump {
  readonly nftables: readonly Readonly<Record<string, unknown>>[];
}

type Link = NamespaceDump['links'][number];

/** Which devices of a namespace are Shoal's. In a sandbox all are; on the host those of this node's name. */
export type Ownership = (dev: string) => boolean;

export function observeScope(
  dump: NamespaceDump,
  table: TableDump | undefined,
  owns: Ownership,
): Map<string, KernelObject> {
  const mine = (entry: { readonly dev: string }): boolean => owns(entry.dev);
  return scopeOf([
    ...Object.entries(dump.sysctls).map(([path, value]): KernelObject => ({ type: 'sysctl', path, value })),
    ...dump.links.filter((link) => owns(link.name)).flatMap((link) => observeLink(link, dump.links)),
    ...dump.addresses.filter(mine).flatMap(observeAddress),
    ...dump.neighbours.filter(mine).flatMap(observeNeighbour),
    ...dump.fdb.filter(mine).flatMap(observeFdb),
    ...dump.rates.filter(mine).map((rate): KernelObject => ({ type: 'rate', ...rate })),
    ...dump.routes.flatMap((route) => observeRoute(route, owns)),
    ...dump.rules.flatMap(observeRule),
    ...(table === undefined ? [] : observeTable(table)),
  ]);
}

/** A device of a kind that Shoal makes. `all` has the devices below. */
export function observeLink(link: Link, all: readonly Link[]): KernelObject[] {
  const { name, mtu, mac = '', id = 0, port = 0, local = '' } = link;
  const state = link.up ? {} : { down: true as const };
  if (link.kind === 'vxlan') return [{ type: 'vxlan', name, id, port, local, mtu, mac, ...state }];
  if (link.kind === 'vlan') {
    const below = all.find(({ index }) => index !== undefined && index === link.below)?.name ?? '';
    return [{ type: 'vlan', name, link: below, id, alias: link.alias ?? '', ...state }];
  }
  if (link.kind === 'wireguard') return [...observeWireGuard(link, state)];
  return link.kind === 'veth' ? [{ type: 'veth', name, mtu, ...state }] : [];
}

function* observeWireGuard(
  { name, mtu, port = 0, publicKey = '', peers = [] }: NamespaceDump['links'][number],
  state: { readonly down?: true },
): Generator<KernelObject> {
  yield { type: 'wireguard', name, mtu, port, publicKey, ...state };
  for (const peer of peers) {
    const { address = '', allowed } = peer;
    yield {
      type: 'wg-peer',
      dev: name,
      publicKey: peer.publicKey,
      address,
      port: peer.port ?? 0,
      allowed: allowed.join(' '),
    };
  }
}

function observeAddress({ dev, address }: NamespaceDump['addresses'][number]): KernelObject[] {
  const own = address === undefined || address === '127.0.0.1/8' || address === '::1/128';
  return own ? [] : [{ type: 'address', dev, address }];
}

function observeNeighbour({ dev, address, mac = '' }: NamespaceDump['neighbours'][number]): KernelObject[] {
  return [{ type: 'neighbour', dev, address, mac }];
}

function observeFdb({ dev, dst, mac = '' }: NamespaceDump['fdb'][number]): KernelObject[] {
  return [{ type: 'fdb', dev, mac, dst }];
}

function observeRoute(route: NamespaceDump['routes'][number], owns: Ownership): KernelObject[] {
  const { dst, table, dev, via, src, onlink, local, metric } = route;
  if (route.protocol !== PROTOCOL || dev === undefined || !owns(dev)) return [];
  return [
    {
      type: 'route',
      dst,
      table,
      dev,
      ...(via === undefined ? {} : { via }),
      ...(onlink ? { onlink } : {}),
      ...(src === undefined ? {} : { src }),
      ...(local === true ? { local } : {}),
      ...(metric === undefined ? {} : { metric }),
    },
  ];
}

function observeRule(rule: NamespaceDump['rules'][number]): KernelObject[] {
  const { priority, table, fwmark, from, ipv6 } = rule;
  if (rule.protocol !== PROTOCOL) return [];
  return [
    {
      type: 'rule',
      priority,
      table,
      ...(fwmark === undefined ? {} : { fwmark }),
      ...(from === undefined ? {} : { from }),
      ...(ipv6 === true && from === undefined ? { ipv6 } : {}),
    },
  ];
}

type ElementOf = Extract<KernelObject, { type: 'element' }>;

interface NftObject {
  readonly family?: string;
  readonly name?: string;
  readonly table?: string;
  readonly chain?: string;
  readonly comment?: string;
  readonly elem?: readonly unknown[];
  readonly expr?: readonly { readonly fwd?: { readonly dev?: unknown } }[];
}

function observeTable(dump: TableDump): KernelObject[] {
  const marks = new Map<string, string[]>();
  const objects: KernelObject[] = [];
  const fast: { chains: string[]; elements: ElementOf[] } = { chains: [], elements: [] };
  for (const entry of dump.nftables) {
    const [kind, body] = Object.entries(entry)[0] ?? [];
    const { family, name = '', chain = '', comment = '', elem = [], ...rest } = (body ?? {}) as NftObject;
    const prefix = family === undefined || family === 'ip' ? '' : `${family} `;
    const table = `${prefix}${rest.table ?? ''}`;
    const isFast = table === FAST_TABLE;
    if (kind === 'table') objects.push({ type: 'table', table: `${prefix}${name}` });
    if (kind === 'set' || kind === 'map') {
      objects.push({ type: 'set', table, name, of: '' });
      const elements = NOTED.has(name) ? [] : elem.map((one) => observeElement(table, name, one));
      if (isFast && !isOfEndpoints(name)) fast.elements.push(...elements);
      else objects.push(...elements);
    }
    if (kind === 'chain' && isFast && !isSharedChain(name)) fast.chains.push(name);
    else if (kind === 'chain') {
      const own: string[] = [];
      marks.set(`${table} ${name}`, own);
      objects.push({ type: 'chain', table, name, marks: own, ...(isFast ? { dev: TUNNEL } : {}) });
    }
    if (kind === 'rule') marks.get(`${table} ${chain}`)?.push(leadsNowhere(rest.expr) ? '' : comment);
  }
  return [...objects, ...observeFastPaths(fast)];
}

/** A rule that forwards by a tunnel that is no more: it knows it by a number, and is not what its comment says. */
function leadsNowhere(expressions: NftObject['expr'] = []): boolean {
  return expressions.some(({ fwd }) => typeof fwd?.dev === 'string' && fwd.dev !== TUNNEL);
}

/** What the kernel has noted in sets of its own of these tables: those are not compared. */
export function observeSeen({ nftables }: TableDump): string[] {
  return nftables.flatMap(({ set }) => {
    const { name, elem = [] } = (set ?? {}) as NftObject;
    return name === SEEN ? seenAddresses(elem) : [];
  });
}

/** A set's element is a value; a map's is a pair. */
function observeElement(table: string, set: string, element: unknown): ElementOf {
  if (!Array.isArray(element)) return { type: 'element', table, set, key: textOf(element) };
  return { type: 'element', table, set, key: textOf(element[0]), value: textOf(element[1]) };
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if ('concat' in value && Array.isArray(value.concat)) return value.concat.map(textOf).join(' . ');
  if ('goto' in value && typeof value.goto === 'object' && value.goto !== null && 'target' in value.goto) {
    return `goto ${String(value.goto.target)}`;
  }
  if ('elem' in value && typeof value.elem === 'object' && value.elem !== null && 'val' in value.elem) {
    return textOf(value.elem.val);
  }
  return JSON.stringify(value);
}
