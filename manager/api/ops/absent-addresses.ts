/** Ports that are published on an address that no node has: nothing answers there. A node may get the address yet. */
import { isLocalhost, isWildcard } from '../../../shared/lib/host-address.ts';
import type { PublishedPort } from '../../../shared/model/index.ts';
import { wholeStore } from '../access/limited-store.ts';
import type { Store } from '../../store/store.ts';

const LISTED = 5;

/** One for each such address. None as long as a node does not say which addresses it has. */
export function addressWarnings(store: Store, ports: readonly PublishedPort[]): string[] {
  const wanted = new Map<string, PublishedPort[]>();
  for (const port of ports) {
    const { hostIp } = port;
    if (hostIp === undefined || isWildcard(hostIp) || isLocalhost(hostIp)) continue;
    wanted.set(hostIp, [...(wanted.get(hostIp) ?? []), port]);
  }
  if (wanted.size === 0) return [];
  const known = addressesOfNodes(store);
  if (known === undefined) return [];
  return [...wanted].flatMap(([hostIp, list]) => (known.has(hostIp) ? [] : [warning(hostIp, list)]));
}

function warning(hostIp: string, ports: readonly PublishedPort[]): string {
  const names = ports.slice(0, LISTED).map(({ targetPort, protocol }) => `${targetPort}/${protocol}`);
  const which = [...new Set(names), ...(ports.length > LISTED ? ['...'] : [])].join(', ');
  return `no node has the address ${hostIp}: what is published there (${which}) answers nowhere until one has it`;
}

/** Undefined when it can not be told. */
function addressesOfNodes(store: Store): ReadonlySet<string> | undefined {
  const known = new Set<string>();
  for (const { description, addresses } of wholeStore(store).all('nodes').values()) {
    if (description === undefined) continue;
    if (addresses === undefined) return undefined;
    known.add(description.address);
    for (const address of addresses) known.add(address);
  }
  return known.size === 0 ? undefined : known;
}
