/**
 * From what a scope holds to what it should: an ordered list of operations for the native library. What is added comes
 * first and what is removed last, so that nothing is missing in between; only a device that must be made anew is
 * removed before, with all that hangs on it.
 */
import { assertNever } from '../../shared/lib/assert-never.ts';
import { fingerprintOf, type KernelObject, keyOf, type Scope } from './kernel-object.ts';
import { nftCommands } from './nft-diff.ts';

/** An operation of native/include/shoal-net.h. */
export type NetOp = Readonly<Record<string, unknown>> & { readonly op: string };

/** A vxlan device is made from the host's namespace, into the sandbox: its socket stays where it was made. */
export interface ScopeDiff {
  readonly before: readonly NetOp[];
  /** Operations for the host's namespace. */
  readonly fromHost: readonly NetOp[];
  readonly sysctls: readonly NetOp[];
  readonly links: readonly NetOp[];
  readonly rest: readonly NetOp[];
}

const ORDER: readonly KernelObject['type'][] = [
  'sysctl',
  'vxlan',
  'veth',
  'vlan',
  'wireguard',
  'wg-peer',
  'address',
  'neighbour',
  'fdb',
  'rate',
  'route',
  'rule',
  'fast-path',
];

const LINKS: ReadonlySet<KernelObject['type']> = new Set(['veth', 'vxlan', 'vlan', 'wireguard']);
const NFT: ReadonlySet<KernelObject['type']> = new Set(['table', 'set', 'chain', 'element']);

/** The device on which an object lives and with which it goes. */
export function deviceOf(object: KernelObject): string | undefined {
  if (object.type === 'sysctl')
    return /^ipv[46]\/(?:conf|neigh)\/(?!all\/|default\/)([^/]+)\//.exec(object.path)?.[1];
  return 'dev' in object ? object.dev : undefined;
}

function isLink(object: KernelObject): boolean {
  return LINKS.has(object.type);
}

/** Devices whose kind or make can not be changed in place. */
function remadeDevices(observed: Scope, desired: Scope, halves: readonly string[]): Set<string> {
  const remade = new Set(halves.filter((name) => observed.has(`link ${name}`)));
  for (const [key, object] of desired) {
    if (!isLink(object) || !('name' in object)) continue;
    const old = observed.get(key);
    if (old === undefined) {
      if (object.type === 'vxlan') strayTunnels(observed, object.id).forEach((name) => remade.add(name));
      continue;
    }
    const inPlace = old.type === 'veth' && object.type === 'veth';
    if (!inPlace && fingerprintOf(old) !== fingerprintOf(object)) remade.add(object.name);
  }
  return remade;
}

/** A tunnel that somebody gave another name has the number that the right one needs. */
function strayTunnels(observed: Scope, id: number): string[] {
  return [...observed.values()].flatMap((one) => (one.type === 'vxlan' && one.id === id ? [one.name] : []));
}

function differs(old: KernelObject | undefined, object: KernelObject): boolean {
  return old === undefined || (old !== object && fingerprintOf(old) !== fingerprintOf(object));
}

/**
 * `netns` is the scope's own path, for what is made from outside. `halves`: devices whose other end is not where it should be,
 * and is made anew with this one.
 */
export function diffScope(
  observed: Scope,
  desired: Scope,
  netns: string,
  halves: readonly string[] = [],
): ScopeDiff {
  const remade = remadeDevices(observed, desired, halves);
  const survives = (object: KernelObject): boolean =>
    !(isLink(object) && 'name' in object && remade.has(object.name)) && !remade.has(deviceOf(object) ?? '');
  // Scopes are large, and mostly all of them stays: they are gone through as seldom as can be.
  const now = remade.size === 0 ? observed : new Map([...observed].filter(([, object]) => survives(object)));
  const wanted: KernelObject[] = [];
  for (const [key, object] of desired)
    if (object.type !== 'fast-path' && differs(now.get(key), object)) wanted.push(object);
  const stale: KernelObject[] = [];
  for (const [key, object] of now) if (!desired.has(key)) stale.push(object);
  const nft = nftCommands(now, wanted, stale);
  const adds = sorted(wanted).flatMap((object) => addOps(object, now.get(keyOf(object)), netns));
  const removes = sorted(stale).reverse().flatMap(removeOps);
  return {
    before: [...remade].map((name) => ({ op: 'link-del', name })),
    fromHost: adds.filter((op) => op['kind'] === 'vxlan'),
    sysctls: adds.filter((op) => op.op === 'sysctl' && !isPortSysctl(op)),
    links: adds.filter((op) => op.op.startsWith('link-') && op['kind'] !== 'vxlan'),
    rest: [
      ...adds.filter(isPortSysctl),
      ...adds.filter((op) => op.op !== 'sysctl' && !op.op.startsWith('link-')),
      ...(nft === '' ? [] : [{ op: 'nft', commands: nft }]),
      ...removes,
    ],
  };
}

/** A setting of one device, which must exist before; and forwarding, which some of those must come before. */
function isPortSysctl(op: NetOp): boolean {
  return (
    op.op === 'sysctl' &&
    /^(ipv4\/neigh|ipv[46]\/conf)\/(?!all\/(?!forwarding$)|default\/)/.test(String(op['path']))
  );
}

/** A device that was just made has given itself an address by then: it is turned off before it is turned on. */
const TURNS_ON_IPV6 = /^ipv6\/conf\/(?!all\/|default\/)[^/]+\/disable_ipv6$/;

/** True if the kernel is as desired. */
export function isEmpty(diff: ScopeDiff): boolean {
  return Object.values(diff).every((ops: readonly NetOp[]) => ops.length === 0);
}

function sorted(objects: readonly KernelObject[]): KernelObject[] {
  const rank = (object: KernelObject): number => ORDER.indexOf(object.type);
  return objects.filter((object) => !NFT.has(object.type)).sort((a, b) => rank(a) - rank(b));
}

/** Operations that make an object, or change `old` into it. A veth whose pair another scope makes is set up. */
export function addOps(object: KernelObject, old: KernelObject | undefined, netns: string): NetOp[] {
  switch (object.type) {
    case 'sysctl':
      if (object.born === true && old === undefined) return [];
      // A kernel without IPv6 has nothing to turn off.
      return [
        ...(TURNS_ON_IPV6.test(object.path) && object.value === '0'
          ? [{ ...named('sysctl', { ...object, value: '1' }), optional: true }]
          : []),
        {
          ...named('sysctl', { type: 'sysctl', path: object.path, value: object.value }),
          ...(object.path.startsWith('ipv6/') ? { optional: true } : {}),
        },
      ];
    case 'vxlan': {
      const { type, ...fields } = object;
      return [{ op: 'link-add', kind: type, into: netns, ...fields }];
    }
    case 'veth': {
      const { name, mtu, peer } = object;
      if (old !== undefined || peer === undefined) return [{ op: 'link-set', name, mtu, up: true }];
      return [{ op: 'link-add', kind: 'veth', name, mtu, peer }];
    }
    case 'vlan':
    case 'wireguard': {
      const { type, ...fields } = object;
      return [{ op: 'link-add', kind: type, ...fields }];
    }
    case 'wg-peer':
      return [named('wg-peer-add', object)];
    case 'rule':
      return [...(old === undefined ? [] : removeOps(old)), named('rule-add', object)];
    case 'address':
      return [named('addr-add', object)];
    case 'neighbour':
      return [named('neigh-add', object)];
    case 'fdb':
      // Replaced in place, so that no packet is lost in between; a second destination that somebody added goes after it.
      return [named('fdb-add', object), ...(old === undefined ? [] : removeOps(old))];
    case 'rate':
      return [named('rate-add', object)];
    case 'route':
      return [named('route-add', object)];
    case 'fast-path':
      return [named('fast-path-add', object)];
    case 'table':
    case 'set':
    case 'chain':
    case 'element':
      return [];
    default:
      return assertNever(object);
  }
}

function named(op: string, object: KernelObject): NetOp {
  const { type: _, ...fields } = object;
  return { op, ...fields };
}

function removeOps(object: KernelObject): NetOp[] {
  switch (object.type) {
    case 'vxlan':
    case 'veth':
    case 'vlan':
    case 'wireguard':
      return [{ op: 'link-del', name: object.name }];
    case 'wg-peer':
      return [{ op: 'wg-peer-del', dev: object.dev, publicKey: object.publicKey }];
    case 'address':
      return [named('addr-del', object)];
    case 'neighbour':
      return [named('neigh-del', object)];
    case 'fdb':
      return [named('fdb-del', object)];
    case 'rate':
      return [{ op: 'rate-del', dev: object.dev }];
    case 'route':
      return object.local === true
        ? [named('route-del', object)]
        : [{ op: 'route-del', dst: object.dst, table: object.table }];
    case 'rule':
      return [named('rule-del', object)];
    case 'fast-path':
      return [named('fast-path-del', object)];
    case 'sysctl':
    case 'table':
    case 'set':
    case 'chain':
    case 'element':
      return [];
    default:
      return assertNever(object);
  }
}
