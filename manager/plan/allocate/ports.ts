/** Published ports of the mesh: who holds which, and the numbers of those that come without one. */
import {
  HeldPorts,
  numberKey,
  type PortClaim,
  portsCollide,
  portText,
} from '../../../shared/lib/published-port.ts';
import type { PublishedPort, Service, ServiceSpec } from '../../../shared/model/index.ts';
import type { View } from '../view.ts';

const FIRST_DYNAMIC_PORT = 30_000;
const LAST_DYNAMIC_PORT = 32_767;

interface Held extends PortClaim {
  readonly serviceId: string;
}

/** Published mesh ports of the cluster, with the services that hold them. */
export class PortBook {
  readonly #held = new HeldPorts<Held>();
  #next = FIRST_DYNAMIC_PORT;

  constructor(view: View) {
    for (const { id, endpoint } of view.services.values()) {
      for (const port of endpoint?.ports ?? []) this.#note(id, port);
    }
  }

  /** Another service that it can not be shared with, or undefined. */
  ownerBeside(serviceId: string, port: PortClaim): Held | undefined {
    return this.#held.inTheWayOf(port).find((held) => held.serviceId !== serviceId);
  }

  /** The service has this number, on whatever addresses. */
  holds(serviceId: string, port: PortClaim): boolean {
    return this.#held.ofNumber(port).some((held) => held.serviceId === serviceId);
  }

  /** Replaces what the service holds. */
  assign(serviceId: string, before: readonly PublishedPort[], after: readonly PublishedPort[]): void {
    for (const port of before) this.#held.release(port, (held) => held.serviceId === serviceId);
    for (const port of after) this.#note(serviceId, port);
  }

  /** A free port of the dynamic range, after those given; undefined when all are taken. */
  findDynamic(protocol: PublishedPort['protocol'], chosen: ReadonlySet<string>): number | undefined {
    const count = LAST_DYNAMIC_PORT - FIRST_DYNAMIC_PORT + 1;
    for (let i = 0; i < count; i += 1) {
      const port = FIRST_DYNAMIC_PORT + ((this.#next - FIRST_DYNAMIC_PORT + i) % count);
      const claim = { protocol, publishedPort: port };
      if (this.#held.ofNumber(claim).length === 0 && !chosen.has(numberKey(claim))) return port;
    }
    return undefined;
  }

  #note(serviceId: string, { mode, protocol, publishedPort, hostIp }: PublishedPort): void {
    if (mode !== 'ingress' || publishedPort === 0) return;
    this.#held.add({ serviceId, protocol, publishedPort, ...(hostIp === undefined ? {} : { hostIp }) });
    const dynamic = publishedPort >= FIRST_DYNAMIC_PORT && publishedPort <= LAST_DYNAMIC_PORT;
    if (dynamic && publishedPort >= this.#next) this.#next = publishedPort + 1;
    if (this.#next > LAST_DYNAMIC_PORT) this.#next = FIRST_DYNAMIC_PORT;
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
    if (number === undefined) return `no free port in ${FIRST_DYNAMIC_PORT}-${LAST_DYNAMIC_PORT}`;
    const result = { ...port, publishedPort: number };
    const owner = port.mode === 'ingress' ? ports.ownerBeside(service.id, result) : undefined;
    if (owner !== undefined) return alreadyPublished(view, result, owner);
    resolved.push(result);
  }
  return resolved;
}

/** One is said as it was asked for; the other one only where it is not the same. */
function alreadyPublished(view: View, port: PortClaim, owner: Held): string {
  const name = view.services.get(owner.serviceId)?.name ?? owner.serviceId;
  const held = portText(owner);
  const as = held === portText(port) ? '' : ` as ${held}`;
  return `port ${portText(port)} is already published by service ${name}${as}`;
}

/** Numbers for the ports of one service, one after the other. */
class PortChoice {
  readonly #serviceId: string;
  readonly #book: PortBook;
  readonly #held: PublishedPort[];
  /** Numbers of the spec that are given or chosen. */
  readonly #used: Set<string>;
  /** Those that were chosen. */
  readonly #chosen: PublishedPort[] = [];

  constructor(service: Service, spec: ServiceSpec, book: PortBook) {
    this.#serviceId = service.id;
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
      this.#book.findDynamic(port.protocol, this.#used);
    if (number === undefined) return undefined;
    const chosen = { ...port, publishedPort: number };
    this.#used.add(numberKey(chosen));
    this.#chosen.push(chosen);
    return number;
  }

  #kept(port: PublishedPort, suits: (held: PublishedPort) => boolean): number | undefined {
    const index = this.#held.findIndex(
      (other) =>
        other.mode === 'ingress' &&
        other.protocol === port.protocol &&
        other.targetPort === port.targetPort &&
        other.publishedPort >= FIRST_DYNAMIC_PORT &&
        other.publishedPort <= LAST_DYNAMIC_PORT &&
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
        this.#isFree({ ...port, publishedPort }),
    )?.publishedPort;
  }

  /** Nobody has it where this port is to be. One that the spec gives a number is never shared. */
  #isFree(port: PublishedPort): boolean {
    const shares = this.#chosen.filter((other) => numberKey(other) === numberKey(port));
    if (this.#used.has(numberKey(port)) && shares.length === 0) return false;
    return (
      shares.every((other) => other.targetPort === port.targetPort && !portsCollide(other, port)) &&
      this.#book.ownerBeside(this.#serviceId, port) === undefined
    );
  }
}
