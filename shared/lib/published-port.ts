/** PURE. What a published port holds of a node's addresses, and which of them can not be held at once. */
import type { PortRange } from '../model/index.ts';
import { isWildcard } from './host-address.ts';

/** The highest number of a port. */
export const PORT_MAX = 65_535;

export interface PortClaim {
  readonly protocol: string;
  readonly publishedPort: number;
  /** As in PublishedPort. */
  readonly hostIp?: string;
}

/** One of which the number is still to be chosen, by whoever publishes it. */
interface RangedPort extends PortClaim {
  readonly among?: PortRange;
}

/**
 * `8080/tcp`, or `192.0.2.1:8080/tcp` or `[2001:db8::1]:8080/tcp` on one address; `8080-8090/tcp` where one of a range is to be
 * chosen.
 */
export function portText({ hostIp, publishedPort, among, protocol }: RangedPort): string {
  const at = hostIp === undefined ? '' : hostIp.includes(':') ? `[${hostIp}]:` : `${hostIp}:`;
  return `${at}${among?.join('-') ?? publishedPort}/${protocol}`;
}

/** The number is one of the range. */
export function isAmong([first, last]: PortRange, number: number): boolean {
  return number >= first && number <= last;
}

/** The first number of the range that will do. */
export function firstAmong([first, last]: PortRange, suits: (number: number) => boolean): number | undefined {
  for (let number = first; number <= last; number += 1) if (suits(number)) return number;
  return undefined;
}

/** What two ports have in common that may collide; which are told apart by their addresses. */
export function numberKey({ protocol, publishedPort }: PortClaim): string {
  return `${publishedPort}/${protocol}`;
}

/** Whether some address is one of both. */
function shareAddress(one: string | undefined, other: string | undefined): boolean {
  if (one === undefined || other === undefined || one === other) return true;
  return one.includes(':') === other.includes(':') && (isWildcard(one) || isWildcard(other));
}

/** Whether a connection could be meant for either. */
export function portsCollide(one: PortClaim, other: PortClaim): boolean {
  return numberKey(one) === numberKey(other) && shareAddress(one.hostIp, other.hostIp);
}

/** Claims by their number, so that one is compared with the few that it may collide with. */
export class HeldPorts<T extends PortClaim = PortClaim> {
  readonly #byNumber = new Map<string, readonly T[]>();

  constructor(from?: HeldPorts<T>) {
    if (from !== undefined) for (const [key, list] of from.#byNumber) this.#byNumber.set(key, list);
  }

  get empty(): boolean {
    return this.#byNumber.size === 0;
  }

  add(claim: T): void {
    const key = numberKey(claim);
    this.#byNumber.set(key, [...(this.#byNumber.get(key) ?? []), claim]);
  }

  /** Takes out those of a number that are no longer held. */
  release(claim: PortClaim, isOver: (held: T) => boolean): void {
    const key = numberKey(claim);
    const rest = (this.#byNumber.get(key) ?? []).filter((held) => !isOver(held));
    if (rest.length === 0) this.#byNumber.delete(key);
    else this.#byNumber.set(key, rest);
  }

  /** Of this number, on whatever address. */
  ofNumber(claim: PortClaim): readonly T[] {
    return this.#byNumber.get(numberKey(claim)) ?? [];
  }

  /** Those that collide with it. */
  inTheWayOf(claim: PortClaim): readonly T[] {
    return this.ofNumber(claim).filter((held) => portsCollide(held, claim));
  }
}
