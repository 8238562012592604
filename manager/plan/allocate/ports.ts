/** Published ports of the mesh: who holds which, and the numbers of those that come without one. */
import {
  firstAmong,
  HeldPorts,
  isAmong,
  numberKey,
  type PortClaim,
  portsCollide,
  portText,
} from '../../../shared/lib/published-port.ts';
import {
  nounOf,
  type PortRange,
  type PublishedPort,
  type Service,
  type ServiceSpec,
} from '../../../shared/model/index.ts';
import type { View } from '../view.ts';

/** Of ports that come without a range of their own. */
const DYNAMIC: PortRange = [30_000, 32_767];

interface Held extends PortClaim {
  readonly serviceId: string;
  readonly mode: PublishedPort['mode'];
}

/** Published ports of the cluster that have a number, with the services that hold them. */
export class PortBook {
  readonly #held = new HeldPorts<Held>();
  #next = DYNAMIC[0];

  constructor(view: View) {
    for (const { id, endpoint } of view.services.values()) {
      for (const port of endpoint?.ports ?? []) this.#note(id, port);
    }
  }

  /** Another service that it can not be shared with in the mesh, or undefined. */
  ownerBeside(serviceId: string, port: PortClaim): Held | undefined {
    return this.#beside(serviceId, port).find(({ mode }) => mode === 'ingress');
  }

  /** No other service has it, be it on its nodes only: what is chosen shall be in nobody's way. */
  isFreeFor(serviceId: string, port: PortClaim): boolean {
    return this.#beside(serviceId, port).length === 0;
  }

  #beside(serviceId: string, port: PortClaim): readonly Held[] {
    return this.#held.inTheWayOf(port).filter((held) => held.serviceId !== serviceId);
  }

  /** The service has this number in the mesh, on whatever addresses. */
  holds(serviceId: string, port: PortClaim): boolean {
    return this.#held.ofNumber(port).some((held) => held.serviceId === serviceId && held.mode === 'ingress');
  }

  /** Replaces what the service holds. */
  assign(serviceId: string, before: readonly PublishedPort[], after: readonly PublishedPort[]): void {
    for (const port of before) this.#held.release(port, (held) => held.serviceId === serviceId);
    for (const port of after) this.#note(serviceId, port);
  }

  /** A free port of the dynamic range, after those given; undefined when all are taken. */
  findDynamic(protocol: PublishedPort['protocol'], chosen: ReadonlySet<string>): number | undefined {
    const isFree = (publishedPort: number): boolean => {
      const claim = { protocol, publishedPort };
      return this.#held.ofNumber(claim).length === 0 && !chosen.has(numberKey(claim));
    };
    const [first, last] = DYNAMIC;
    return firstAmong([this.#next, last], isFree) ?? firstAmong([first, this.#next - 1], isFree);
  }

  #note(serviceId: string, { mode, protocol, publishedPort, hostIp }: PublishedPort): void {
    if (publishedPort === 0) return;
    this.#held.add({ serviceId, mode, protocol, publishedPort, ...(hostIp === undefined ? {} : { hostIp }) });
    if (mode !== 'ingress') return;
    if (isAmong(DYNAMIC, publishedPort) && publishedPort >= this.#next) this.#next = publishedPort + 1;
    if (this.#next > DYNAMIC[1]) this.#next = DYNAMIC[0];
  }
}

/** The ports with numbers for all, or the reason why not. */
export function resolvePorts(
  view: View,
  service: Service,
  spec: ServiceSpec,
  ports: PortBook,
): readonly PublishedPort[] | string {
  const choice = new PortChoice(service, spec, ports);
  const resolved: PublishedPort[] = [];
  for (const port of spec.ports) {
    const number = port.mode === 'host' ? port.publishedPort : choice.numberFor(port);
    if (number === undefined) return `no free port in ${portText({ ...port, among: rangeOf(port) })}`;
    const { among: _, ...rest } = port;
    const result = { ...rest, publishedPort: number };
    const owner = port.mode === 'ingress' ? ports.ownerBeside(service.id, result) : undefined;
    if (owner !== undefined) return alreadyPublished(view, result, owner);
    resolved.push(result);
  }
  return resolved;
}

/** Where the number of a port comes from that has none. */
function rangeOf({ among = DYNAMIC }: PublishedPort): PortRange {
  return among;
}

/** One is said as it was asked for; the other one only where it is not the same. */
function alreadyPublished(view: View, port: PortClaim, owner: Held): string {
  const service = view.services.get(owner.serviceId);
  const holder = service === undefined ? `service ${owner.serviceId}` : `${nounOf(service)} ${service.name}`;
  const held = portText(owner);
  const as = held === portText(port) ? '' : ` as ${held}`;
  return `port ${portText(port)} is already published by ${holder}${as}`;
}

/** Numbers for the ports of one service, one after the other. */
class PortChoice {
  readonly #serviceId: string;
  readonly #spec: ServiceSpec;
  readonly #book: PortBook;
  readonly #held: PublishedPort[];
  /** Numbers of the spec that are given or chosen. */
  readonly #used: Set<string>;
  /** Those that were chosen. */
  readonly #chosen: PublishedPort[] = [];
  readonly #byNumber = new HeldPorts<PublishedPort>();

  constructor(service: Service, spec: ServiceSpec, book: PortBook) {
    this.#serviceId = service.id;
    this.#spec = spec;
    this.#book = book;
    this.#held = [...(service.endpoint?.ports ?? [])];
    const given = spec.ports.filter(({ mode, publishedPort }) => mode === 'ingress' && publishedPort !== 0);
    this.#used = new Set(given.map(numberKey));
  }

  /** The one that it has on this address; else that of the same port on another address; else any that it has; else a new one. */
  numberFor(port: PublishedPort): number | undefined {
    if (port.publishedPort !== 0) return port.publishedPort;
    const number =
      this.#kept(port, (other) => other.hostIp === port.hostIp) ??
      this.#ofSibling(port) ??
      this.#kept(port, () => true) ??
      this.#new(port);
    if (number === undefined) return undefined;
    const chosen = { ...port, publishedPort: number };
    this.#used.add(numberKey(chosen));
    this.#chosen.push(chosen);
    this.#byNumber.add(chosen);
    return number;
  }

  #kept(port: PublishedPort, suits: (held: PublishedPort) => boolean): number | undefined {
    const index = this.#held.findIndex(
      (other) =>
        other.mode === 'ingress' &&
        other.protocol === port.protocol &&
        other.targetPort === port.targetPort &&
        isAmong(rangeOf(port), other.publishedPort) &&
        suits(other) &&
        this.#isFree({ ...port, publishedPort: other.publishedPort }) &&
        this.#book.holds(this.#serviceId, other),
    );
    return index < 0 ? undefined : this.#held.splice(index, 1)[0]?.publishedPort;
  }

  /** As Docker has it: a port of a container that is published on several addresses has one number on all. */
  #ofSibling(port: PublishedPort): number | undefined {
    return this.#chosen.find(
      ({ protocol, targetPort, publishedPort }) =>
        protocol === port.protocol &&
        targetPort === port.targetPort &&
        isAmong(rangeOf(port), publishedPort) &&
        this.#isFree({ ...port, publishedPort }),
    )?.publishedPort;
  }

  /** One of a range is free on all the addresses that it is published on by that range. */
  #new(port: PublishedPort): number | undefined {
    const { among, protocol } = port;
    if (among === undefined) return this.#book.findDynamic(protocol, this.#used);
    const all = [port, ...this.#spec.ports.filter((other) => isSamePort(port, other))];
    return firstAmong(among, (publishedPort) =>
      all.every((one) => {
        const claim = { ...one, publishedPort };
        return this.#isFree(claim) && this.#book.isFreeFor(this.#serviceId, claim);
      }),
    );
  }

  /** Nobody has it where this port is to be. One that the spec gives a number is never shared. */
  #isFree(port: PublishedPort): boolean {
    const shares = this.#byNumber.ofNumber(port);
    if (this.#used.has(numberKey(port)) && shares.length === 0) return false;
    return (
      shares.every((other) => other.targetPort === port.targetPort && !portsCollide(other, port)) &&
      this.#book.ownerBeside(this.#serviceId, port) === undefined
    );
  }
}

/** One port of a container, to be published by one range on two addresses. */
function isSamePort(one: PublishedPort, other: PublishedPort): boolean {
  return (
    one.protocol === other.protocol &&
    one.targetPort === other.targetPort &&
    one.among?.join() === other.among?.join() &&
    !portsCollide(one, other)
  );
}
