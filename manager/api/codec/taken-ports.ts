/** Published ports that programs of a node listen on, in words. */
import { isWildcard } from '../../../shared/lib/host-address.ts';
import { newAddressKey } from '../../../shared/lib/port-keys.ts';
import { portText } from '../../../shared/lib/published-port.ts';
import type { Node, PublishedPort, Service, TakenPort } from '../../../shared/model/index.ts';

export function takenPortText({ port, holder }: TakenPort): string {
  return holder === 'theirs'
    ? `port ${port} is in use by another process: it is not published here until that ends`
    : `a process listens on port ${port}, which is published: it gets no connection`;
}

/** Nodes tell a port by its address only where it is one. */
function asReported({ hostIp, ...port }: PublishedPort): string {
  return portText(hostIp === undefined || isWildcard(hostIp) ? port : { ...port, hostIp });
}

/** Ports on addresses that the node's version does not know: they are published on the other nodes only. */
function unknownPorts({ endpoint }: Service, { description }: Node): string[] {
  if (description === undefined) return [];
  return (endpoint?.ports ?? []).flatMap((port) => {
    const key = newAddressKey(port.hostIp);
    if (port.mode !== 'ingress' || key === undefined || description.knows?.includes(key) === true) return [];
    return [
      `Shoal ${description.engineVersion} does not know ${key}: port ${portText(port)} is not published here`,
    ];
  });
}

/** Those of a service, node by node. */
export function takenPortsOf(service: Service, nodes: Iterable<Node>): { node: Node; text: string }[] {
  const own = new Set((service.endpoint?.ports ?? []).map(asReported));
  const found: { node: Node; text: string }[] = [];
  for (const node of nodes) {
    for (const text of unknownPorts(service, node)) found.push({ node, text });
    for (const taken of node.takenPorts ?? []) {
      if (own.has(taken.port)) found.push({ node, text: takenPortText(taken) });
    }
  }
  return found;
}
