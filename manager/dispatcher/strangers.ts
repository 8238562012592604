/**
 * Who has connected and not shown yet who he is. They are few at a time, in all and of one address, and come at a limited
 * rate; who proves to be of the cluster is not counted any more. When the room is full, whoever has most of it gives way.
 * Time is passed in.
 */
import { isIPv6 } from 'node:net';

export interface StrangerLimits {
  readonly inAll: number;
  readonly perAddress: number;
  /** Connections of one address that may come at once, and how many more each second, of those that prove nothing. */
  readonly burst: number;
  readonly perSecond: number;
  /** The same of joins that are refused. */
  readonly refusedJoins: number;
  readonly refusedJoinsPerSecond: number;
}

/**
 * A manager makes some hundred handshakes a second, so these are gone through in seconds; a node that is turned away comes
 * back within two seconds. A thousand machines that join at once from behind one address are let in.
 */
export const STRANGER_LIMITS: StrangerLimits = {
  inAll: 2048,
  perAddress: 512,
  burst: 2048,
  perSecond: 50,
  refusedJoins: 30,
  refusedJoinsPerSecond: 0.5,
};

/** Addresses that are remembered; those beyond share one budget. */
const MAX_ADDRESSES = 10_000;

export type TurnedAway = 'full' | 'address-full' | 'address-rate';

/** A budget that fills again by itself. */
class Budget {
  #left: number;
  #atMs: number;
  readonly #most: number;
  readonly #perSecond: number;

  constructor(most: number, perSecond: number, nowMs: number) {
    this.#most = most;
    this.#perSecond = perSecond;
    this.#left = most;
    this.#atMs = nowMs;
  }

  left(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#left = Math.min(this.#most, this.#left + (passedMs / 1000) * this.#perSecond);
    this.#atMs = Math.max(nowMs, this.#atMs);
    return this.#left;
  }

  isFull(nowMs: number): boolean {
    return this.left(nowMs) >= this.#most;
  }

  take(nowMs: number): boolean {
    if (this.left(nowMs) < 1) return false;
    this.#left -= 1;
    return true;
  }

  giveBack(): void {
    this.#left = Math.min(this.#most, this.#left + 1);
  }
}

interface Address {
  /** Those that are here, oldest first. */
  readonly open: Set<Stranger>;
  readonly connections: Budget;
  readonly refusedJoins: Budget;
}

/** One connection, until `proven` or `gone`. */
export class Stranger {
  readonly #address: Address;
  readonly #onLeave: (() => void)[];
  /** Ends the connection. */
  readonly drop: () => void;
  #counted = true;

  constructor(address: Address, drop: () => void, onLeave: () => void) {
    this.#address = address;
    this.drop = drop;
    this.#onLeave = [onLeave];
    address.open.add(this);
  }

  /** Proven, or gone. */
  onLeave(then: () => void): void {
    this.#onLeave.push(then);
  }

  /** It is of the cluster, or has just become so: it costs its address nothing. */
  proven(): void {
    if (!this.#counted) return;
    this.#address.connections.giveBack();
    this.gone();
  }

  gone(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#address.open.delete(this);
    for (const then of this.#onLeave) then();
  }

  /** Its join was refused. */
  joinRefused(nowMs: number): void {
    this.#address.refusedJoins.take(nowMs);
  }

  /** False once too many joins of its address were refused. */
  mayJoin(nowMs: number): boolean {
    return this.#address.refusedJoins.left(nowMs) >= 1;
  }
}

export class Strangers {
  readonly #limits: StrangerLimits;
  readonly #addresses = new Map<string, Address>();
  #count = 0;

  constructor(limits: StrangerLimits = STRANGER_LIMITS) {
    this.#limits = limits;
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** `drop` ends the connection; it may be called later, to make room for another address. */
  admit(from: string | undefined, nowMs: number, drop: () => void): Stranger | TurnedAway {
    const address = this.#addressOf(networkOf(from ?? ''), nowMs);
    if (address.open.size >= this.#limits.perAddress) return 'address-full';
    if (address.connections.left(nowMs) < 1) return 'address-rate';
    if (this.#count >= this.#limits.inAll && !this.#makeRoom(address)) return 'full';
    address.connections.take(nowMs);
    this.#count += 1;
    return new Stranger(address, drop, () => {
      this.#count -= 1;
    });
  }

  /** The oldest of the address with most of them leaves, if that one has more than the one that comes would have. */
  #makeRoom(coming: Address): boolean {
    let greediest = coming;
    for (const address of this.#addresses.values())
      if (address.open.size > greediest.open.size) greediest = address;
    if (greediest.open.size <= coming.open.size + 1) return false;
    const [oldest] = greediest.open;
    oldest?.drop();
    oldest?.gone();
    return true;
  }

  #addressOf(name: string, nowMs: number): Address {
    const known = this.#addresses.get(name);
    if (known !== undefined) return known;
    if (this.#addresses.size >= MAX_ADDRESSES) this.#forget(nowMs);
    if (this.#addresses.size >= MAX_ADDRESSES && name !== '') return this.#addressOf('', nowMs);
    const { burst, perSecond, refusedJoins, refusedJoinsPerSecond } = this.#limits;
    const made: Address = {
      open: new Set(),
      connections: new Budget(burst, perSecond, nowMs),
      refusedJoins: new Budget(refusedJoins, refusedJoinsPerSecond, nowMs),
    };
    this.#addresses.set(name, made);
    return made;
  }

  /** Those of whom nothing is worth knowing. */
  #forget(nowMs: number): void {
    for (const [name, { open, connections, refusedJoins }] of this.#addresses)
      if (open.size === 0 && connections.isFull(nowMs) && refusedJoins.isFull(nowMs))
        this.#addresses.delete(name);
  }
}

/** What one machine can have many of counts as one: an IPv6 network of 64 bits. */
function networkOf(address: string): string {
  const plain = plainAddress(address);
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('%')[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: Math.max(0, 8 - groups.length - last.length) }, () => '0');
  return [...groups, ...zeros, ...last].slice(0, 4).join(':');
}

/** An IPv4 address as such, also when a socket for both families has told it. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
