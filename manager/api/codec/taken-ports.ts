/** Published ports that programs of a node listen on, in words. */
import { isWildcard } from '../../../shared/lib/host-address.ts';
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

/** Those of a service, node by node. */
export function takenPortsOf(service: Service, nodes: Iterable<Node>): { node: Node; text: string }[] {
  const own = new Set((service.endpoint?.ports ?? []).map(asReported));
  const found: { node: Node; text: string }[] = [];
  for (const node of nodes) {
    for (const taken of node.takenPorts ?? []) {
      if (own.has(taken.port)) found.push({ node, text: takenPortText(taken) });
    }
  }
  return found;
}
