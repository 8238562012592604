/**
 * PURE. The mesh's ports on addresses that a node of an older version does not know: it would take all of its published ports
 * down with them, so it is not told of these. Tasks that have such ports wait for nodes that know them.
 */
import { NEW_ADDRESS_KEYS, newAddressKey } from '../../shared/lib/port-keys.ts';
import { portText } from '../../shared/lib/published-port.ts';
import type { MeshPort, NodeDescription, ServiceAssignment } from '../../shared/model/index.ts';

interface Told<T> {
  readonly lists: T;
  /** Ports that were left out. */
  readonly left: readonly string[];
}

export class KnownPorts {
  readonly #unknown: ReadonlySet<string>;

  constructor({ knows = [] }: Pick<NodeDescription, 'knows'>) {
    this.#unknown = new Set(NEW_ADDRESS_KEYS.filter((key) => !knows.includes(key)));
  }

  /** The lists as the node is told them. */
  of<T extends { readonly services?: readonly ServiceAssignment[] }>(lists: T): Told<T> {
    const { services } = lists;
    if (this.#unknown.size === 0 || services === undefined) return { lists, left: [] };
    const left: string[] = [];
    const told = services.map((service) => {
      const ports = service.ports.filter((port) => this.#isKnown(port));
      if (ports.length === service.ports.length) return service;
      left.push(...service.ports.filter((port) => !ports.includes(port)).map(portText));
      return { ...service, ports };
    });
    return { lists: { ...lists, services: told }, left };
  }

  #isKnown({ hostIp }: MeshPort): boolean {
    const key = newAddressKey(hostIp);
    return key === undefined || !this.#unknown.has(key);
  }
}
