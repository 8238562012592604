/** Services that already publish what another one is to publish. */
import { HeldPorts, portText } from '../../../shared/lib/published-port.ts';
import type { PublishedPort, Service, ServiceSpec } from '../../../shared/model/index.ts';
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
  // Whoever it belongs to: a port is one.
  const whole = wholeStore(store);
  for (const service of whole.all('services').values()) {
    if (service.id === self || (service.removing === true) !== removing) continue;
    const ports = [...(specOf(whole, service)?.ports ?? []), ...(service.endpoint?.ports ?? [])];
    for (const held of ports) {
      const clash = wanted.inTheWayOf(held).find((port) => !areOnOwnNodes(port, held));
      if (clash !== undefined) return { service, wanted: clash, held };
    }
  }
  return undefined;
}

/** Two of mode host never come to one node: the scheduler sees to it. */
export function areOnOwnNodes(one: PublishedPort, other: PublishedPort): boolean {
  return one.mode === 'host' && other.mode === 'host';
}

/** `8080`, or with its address `127.0.0.1:8080`. */
export function shortPort({ hostIp, ...port }: PublishedPort): string {
  return hostIp === undefined ? `${port.publishedPort}` : portText({ ...port, hostIp }).replace(/\/\w+$/, '');
}
