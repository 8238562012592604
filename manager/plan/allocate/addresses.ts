/** Addresses on networks: of tasks and virtual ones of services. None is given twice while any record names it. */
import { cidrSize, formatAddress, isAddress, parseAddress, parseCidr } from '../../../shared/lib/cidr.ts';
import { outsideOf } from '../../../shared/lib/network-outside.ts';
import { addressProblem, chosenSubnets } from '../../../shared/lib/subnet-choice.ts';
import type { Network, ServiceSpec } from '../../../shared/model/index.ts';
import { INGRESS_NETWORK_ID, isOffNetworks, usesIngress } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';

/** The networks that a task of this spec is on, in order: the spec's, then ingress. */
export function networksOf(spec: ServiceSpec): string[] {
  if (isOffNetworks(spec.container.runtime)) return [];
  const networks = [...new Set(spec.networks.map(({ network }) => network))];
  if (usesIngress(spec) && !networks.includes(INGRESS_NETWORK_ID)) networks.push(INGRESS_NETWORK_ID);
  return networks;
}

interface Range {
  readonly base: number;
  readonly size: number;
}

interface Pool {
  readonly network: Network;
  /** One a subnet: what is given out of it by itself. */
  readonly ranges: readonly Range[];
  /** In all ranges together. */
  free: number;
  /** In ranges or not. */
  readonly used: Set<number>;
  /** Where to look next: after the one given last, so that a freed address rests. */
  next: number;
}

/** Built when first needed, from all records that name an address: what exists comes before anything new. */
export class AddressBook {
  readonly #view: View;
  readonly #pools = new Map<string, Pool>();
  #filled = false;

  constructor(view: View) {
    this.#view = view;
  }

  /** A free address of the network, now taken; undefined when there is none or the network has no subnet. */
  take(network: string): string | undefined {
    const pool = this.#pool(network);
    if (pool === undefined || pool.free <= 0) return undefined;
    let at = pool.next;
    while (pool.used.has(at)) at = after(pool, at);
    occupy(pool, at);
    pool.next = after(pool, at);
    return formatAddress(at);
  }

  /** This very address of the network, now taken; or why not. */
  takeGiven(network: string, text: string, serviceId: string): { readonly problem?: string } {
    const pool = this.#pool(network);
    const value = parseAddress(text);
    if (pool === undefined) return { problem: 'the network has no subnet' };
    const problem = addressProblem(pool.network, text);
    if (problem !== undefined) return { problem };
    if (pool.used.has(value) && !this.#isOwn(network, text, serviceId)) return { problem: 'it is in use' };
    occupy(pool, value);
    return {};
  }

  /** Named by the service's own tasks only: those of a container come one after the other. */
  #isOwn(network: string, text: string, serviceId: string): boolean {
    const names = (one: { readonly network: string; readonly address: string }): boolean =>
      one.network === network && one.address === text;
    for (const { endpoint } of this.#view.services.values()) if (endpoint?.vips.some(names)) return false;
    let found = false;
    for (const task of this.#view.tasks.values()) {
      if (!task.addresses.some(names)) continue;
      if (task.serviceId !== serviceId) return false;
      found = true;
    }
    return found;
  }

  /** Gives back what `take` gave in this plan. */
  release(network: string, address: string): void {
    const pool = this.#pools.get(network);
    const value = parseAddress(address);
    if (pool?.used.delete(value) === true && rangeAt(pool, value) >= 0) pool.free += 1;
  }

  /** A network that this plan gave its subnet to, before the records know. */
  add(network: Network): void {
    if (network.allocation !== undefined) this.#pools.set(network.id, emptyPool(network, this.#view));
  }

  #pool(network: string): Pool | undefined {
    if (!this.#filled) this.#fill();
    return this.#pools.get(network);
  }

  #fill(): void {
    this.#filled = true;
    for (const network of this.#view.networks.values()) {
      if (network.allocation !== undefined && !this.#pools.has(network.id))
        this.#pools.set(network.id, emptyPool(network, this.#view));
    }
    const newest = new Map<string, { atMs: number; address: number }>();
    const note = (network: string, address: string, atMs: number): void => {
      const value = parseFast(address);
      const pool = this.#pools.get(network);
      if (pool === undefined) return;
      occupy(pool, value);
      // What was chosen outside of the ranges says nothing of whose turn it is in them.
      if (rangeAt(pool, value) < 0) return;
      const known = newest.get(network);
      if (known === undefined || atMs > known.atMs || (atMs === known.atMs && value > known.address)) {
        newest.set(network, { atMs, address: value });
      }
    };
    for (const { endpoint, updatedAtMs } of this.#view.services.values()) {
      for (const { network, address } of endpoint?.vips ?? []) note(network, address, updatedAtMs);
    }
    for (const task of this.#view.tasks.values()) {
      for (const { network, address } of task.addresses) note(network, address, task.createdAtMs);
    }
    for (const [network, { address }] of newest) {
      const pool = this.#pools.get(network);
      if (pool !== undefined) pool.next = after(pool, address);
    }
  }
}

/**
 * A subnet's own address, its gateway, its broadcast address and what was reserved are never given, nor those of nodes,
 * which may be on a network that is not Shoal's own.
 */
function emptyPool(network: Network, { nodes }: View): Pool {
  const ranges: Range[] = [];
  const pool = { network, ranges, free: 0, used: new Set<number>(), next: 0 };
  const subnets = chosenSubnets(network);
  for (const { subnet, addressRange } of subnets) {
    const range = parseCidr(addressRange ?? subnet);
    ranges.push({ base: range.base, size: cidrSize(range) });
    pool.free += cidrSize(range);
  }
  for (const { subnet, gateway, reservedAddresses = {} } of subnets) {
    const { base, bits } = parseCidr(subnet);
    const reserved = [gateway, ...Object.values(reservedAddresses)].map(parseAddress);
    for (const address of [base, base + cidrSize({ base, bits }) - 1, ...reserved]) occupy(pool, address);
  }
  if (outsideOf(network.spec) !== undefined)
    for (const { description } of nodes.values())
      if (isAddress(description?.address ?? '')) occupy(pool, parseAddress(description?.address ?? ''));
  return { ...pool, next: ranges[0]?.base ?? 0 };
}

function occupy(pool: Pool, address: number): void {
  if (pool.used.has(address)) return;
  pool.used.add(address);
  if (rangeAt(pool, address) >= 0) pool.free -= 1;
}

/** Index of the range that has the address; -1: none. */
function rangeAt({ ranges }: Pool, address: number): number {
  return ranges.findIndex(({ base, size }) => address >= base && address < base + size);
}

/** The next one of the same range; after its last one, the first of the next range. */
function after(pool: Pool, address: number): number {
  const index = rangeAt(pool, address);
  const range = pool.ranges[index];
  if (range !== undefined && address + 1 < range.base + range.size) return address + 1;
  return pool.ranges[(index + 1) % pool.ranges.length]?.base ?? 0;
}

/** Addresses in records are well formed; this is several times faster than checking them again. */
function parseFast(text: string): number {
  let value = 0;
  let part = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      value = value * 256 + part;
      part = 0;
    } else part = part * 10 + code - 48;
  }
  return value * 256 + part;
}
