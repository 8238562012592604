/** Services that already publish what another one is to publish. */
import { firstAmong, HeldPorts, portText } from '../../../shared/lib/published-port.ts';
import { nounOf, type PublishedPort, type Service, type ServiceSpec } from '../../../shared/model/index.ts';
import type { Store } from '../../store/store.ts';
import { wholeStore } from '../access/limited-store.ts';
import { specOf } from './service-reads.ts';

interface TakenBy {
  readonly service: Service;
  /** As it was asked for, and as the other one has it. */
  readonly wanted: PublishedPort;
  readonly held: PublishedPort;
}

/** Another service that one of the spec's ports can not be shared with, among those that leave or those that stay. */
export function portHolder(
  store: Store,
  spec: ServiceSpec,
  self: string | undefined,
  removing: boolean,
): TakenBy | undefined {
  const wanted = new HeldPorts<PublishedPort>();
  for (const port of spec.ports) if (port.publishedPort > 0) wanted.add(port);
  if (wanted.empty) return undefined;
  for (const [service, held] of heldPorts(store, removing)) {
    if (service.id === self) continue;
    const clash = wanted.inTheWayOf(held).find((port) => !areOnOwnNodes(port, held));
    if (clash !== undefined) return { service, wanted: clash, held };
  }
  return undefined;
}

/** Whoever they belong to: a port is one. */
function* heldPorts(store: Store, removing: boolean): Generator<[Service, PublishedPort]> {
  const whole = wholeStore(store);
  for (const service of whole.all('services').values()) {
    if ((service.removing === true) !== removing) continue;
    for (const port of specOf(whole, service)?.ports ?? []) yield [service, port];
    for (const port of service.endpoint?.ports ?? []) yield [service, port];
  }
}

/** A port of the spec that has a range to choose from, of which others hold all and stay. */
export function fullRange(store: Store, spec: ServiceSpec): PublishedPort | undefined {
  const ranged = spec.ports.filter(({ among }) => among !== undefined);
  if (ranged.length === 0) return undefined;
  const held = new HeldPorts();
  for (const [, port] of heldPorts(store, false)) if (port.publishedPort > 0) held.add(port);
  return ranged.find((port) => {
    const isFree = (publishedPort: number): boolean =>
      held.inTheWayOf({ ...port, publishedPort }).length === 0;
    return port.among !== undefined && firstAmong(port.among, isFree) === undefined;
  });
}

/** As one that holds a port is called. */
export function holderText(service: Service): string {
  const text = `${nounOf(service)} '${service.name}'`;
  return service.run === undefined ? `${text} (${service.id})` : text;
}

/** Two of mode host never come to one node: the scheduler sees to it. */
export function areOnOwnNodes(one: PublishedPort, other: PublishedPort): boolean {
  return one.mode === 'host' && other.mode === 'host';
}

/** `8080`, or with its address `127.0.0.1:8080`; `8080-8090` of one that has a range to choose from. */
export function shortPort(port: PublishedPort): string {
  return portText(port).replace(/\/\w+$/, '');
}
